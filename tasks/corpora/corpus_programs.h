// Text for the programs task: guesses, and candidates checked against both examples one after
// another.
#pragma once

#include "tasks/builtin/programs.h"
#include "tasks/corpora/corpus.h"

namespace zeroth {

// Careful documents try the functions in the order of the list and copy each result beside the
// wanted one, because a base learns to judge what stands next to the judgement.
struct ProgramsCorpusOptions : ProgramsOptions {
  double share_fitting = 0.10, share_random = 0.45, share_sloppy = 0.10, share_careful = 0.35;
  double slip = 0.01;
  template <class V>
  void fields(V& v) {
    const Range share{0, 1};
    v("share_fitting", share_fitting,
      "documents that answer at once with a function that fits the first example", share);
    v("share_random", share_random, "documents that answer at once with any function", share);
    v("share_sloppy", share_sloppy, "documents that check one function, call it ok, and answer it",
      share);
    v("share_careful", share_careful,
      "documents that check functions in order until one fits both examples", share);
    v("slip", slip, "probability that a verdict of a careful document is wrong", share);
    ProgramsOptions::fields(v);
  }
};

// A check: "a-b 3,1:2/4no", function, inputs, its result, the wanted result, verdict. Careful:
//   <think>a+b 1,2:3/2no wait a-b 1,2:-1/2no wait a*b 1,2:2/2ok 3,1:3/3ok</think><answer>lambda
//   a,b:a*b</answer>
class ProgramsCorpus : public Corpus {
 public:
  explicit ProgramsCorpus(ProgramsCorpusOptions options);
  Document document(uint64_t seed, int64_t index) const override;

 private:
  ProgramsCorpusOptions options_;
  ProgramsTask task_;
};

}  // namespace zeroth
