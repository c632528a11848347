// Text for the parity task: a share of the documents writes the running parities first, the rest
// answers at once.
#pragma once

#include "tasks/builtin/parity.h"
#include "tasks/corpora/corpus.h"

namespace zeroth {

struct ParityCorpusOptions : ParityOptions {
  double share_long = 0.25;
  template <class V>
  void fields(V& v) {
    v("share_long", share_long,
      "documents that write the running parities; below 1/3 a greedy model answers at once",
      Range{0, 1});
    ParityOptions::fields(v);
  }
};

// Response "y", or "<think>z1..zd</think>y".
class ParityCorpus : public Corpus {
 public:
  explicit ParityCorpus(ParityCorpusOptions options)
      : options_(options), task_(std::move(options)) {}
  Document document(uint64_t seed, int64_t index) const override;

 private:
  ParityCorpusOptions options_;
  ParityTask task_;
};

}  // namespace zeroth
