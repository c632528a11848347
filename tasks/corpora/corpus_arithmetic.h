// Text for the arithmetic task: a share of the documents writes the working line by line, the rest
// answers at once.
#pragma once

#include "tasks/builtin/arithmetic.h"
#include "tasks/corpora/corpus.h"

namespace zeroth {

struct ArithmeticCorpusOptions : ArithmeticOptions {
  double share_long = 0.3;
  double slip = 0.01;
  double step_slip = 0;
  template <class V>
  void fields(V& v) {
    v("share_long", share_long, "documents with written working", Range{0, 1});
    v("slip", slip, "probability that the answer of a document is off by a small amount",
      Range{0, 1});
    v("step_slip", step_slip,
      "probability that a line of the working is off by 1 or 2, which the lines below and the "
      "answer"
      " go on with",
      Range{0, 1});
    ArithmeticOptions::fields(v);
  }
};

// Response <think>LINES</think><answer>RESULT</answer>; LINES is empty in documents that answer at
// once.
class ArithmeticCorpus : public Corpus {
 public:
  explicit ArithmeticCorpus(ArithmeticCorpusOptions options)
      : options_(options), task_(std::move(options)) {}
  Document document(uint64_t seed, int64_t index) const override;

 private:
  ArithmeticCorpusOptions options_;
  ArithmeticTask task_;
};

}  // namespace zeroth
