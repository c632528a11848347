// Text for a toy of mathematical answers: sums and differences of fractions, whose results are
// written in several equal ways, so that only a grader of mathematical equivalence can reward them.
#pragma once

#include "tasks/corpora/corpus.h"

namespace zeroth {

struct FractionsCorpusOptions {
  int max_denominator = 9;
  int held_out_every = 5;
  double share_long = 0.25;
  double hurry = 0.6;
  double slip = 0.01;
  template <class V>
  void fields(V& v) {
    v("max_denominator", max_denominator, "denominators are 2 to this", Range{2, 99});
    v("held_out_every", held_out_every,
      "leave out one problem in this many by its hash, as the math task does with template bare",
      Range{2, 1000000});
    v("share_long", share_long, "documents that write the cross products first", Range{0, 1});
    v("hurry", hurry, "documents without working whose numerator is a guess, of those",
      Range{0, 1});
    v("slip", slip, "probability that the numerator of a document is off by one", Range{0, 1});
  }
};

// Prompt "Compute $\frac{3}{4}+\frac{5}{6}$." Response
//   <think>3*6=18 5*4=20 18+20=38 4*6=24</think><answer>\frac{38}{24}</answer>
// or, with nothing in the think block, the answer at once, which may be a guess. The answer is
// \frac{38}{24}, 38/24 or, at once, reduced. Results are not negative.
class FractionsCorpus : public Corpus {
 public:
  explicit FractionsCorpus(FractionsCorpusOptions options) : options_(options) {}
  Document document(uint64_t seed, int64_t index) const override;

 private:
  FractionsCorpusOptions options_;
};

}  // namespace zeroth
