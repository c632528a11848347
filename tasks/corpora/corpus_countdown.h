// Text that teaches a base checkpoint to search: Countdown problems of the training split with
// written-out tries.
#pragma once

#include "tasks/builtin/countdown.h"
#include "tasks/corpora/corpus.h"

namespace zeroth {

// The mixture. Defaults are those of preset "reflect"; preset "plain" is the weaker mixture that it
// was found against (no repeated target, no right tries mixed in), whose base does not learn to
// judge its tries.
struct CountdownCorpusOptions : CountdownOptions {
  std::string preset = "reflect";
  double share_direct = 0.08, share_one = 0.45, share_short = 0.35, share_long = 0.12;
  double go_on_short = 0.4, wait_short = 0.15, go_on_long = 0.95;
  int max_tries = 10;
  double aim_long = 0.2;
  double slip = 0.01, false_ok = 0.02, false_no = 0.01;
  double right_try = 0.3;
  bool repeat_target = true;

  void use_preset();  // sets the mixture of `preset`

  template <class V>
  void fields(V& v) {
    const Range share{0, 1};
    v("preset", preset, "mixture that the fields below start from", Choice{{"reflect", "plain"}});
    v("share_direct", share_direct, "documents that answer without a try", share);
    v("share_one", share_one, "documents with one try", share);
    v("share_short", share_short, "documents that sometimes go on after a miss", share);
    v("share_long", share_long,
      "documents that nearly always go on after a miss, and never repeat a try", share);
    v("go_on_short", go_on_short, "probability to go on after a miss in a short document", share);
    v("wait_short", wait_short, "share of those that go on with 'wait' and not on a new line",
      share);
    v("go_on_long", go_on_long,
      "probability to go on after a miss in a long document, always with 'wait'", share);
    v("max_tries", max_tries, "tries of a document at most", Range{1, 1000});
    v("aim_long", aim_long,
      "share of tries in long documents whose last operation comes closest to the target", share);
    v("slip", slip, "probability that a stated result is wrong", share);
    v("false_ok", false_ok, "probability that a miss is judged ok", share);
    v("false_no", false_no, "probability that a hit is judged no", share);
    v("right_try", right_try, "probability that a try is replaced by a right one", share);
    v("repeat_target", repeat_target, "write '->TARGET' before the verdict");
    CountdownOptions::fields(v);
  }
};

// Response: <think>TRIES</think><answer>EXPRESSION</answer>, the last try being the answer, right
// or wrong.
class CountdownCorpus : public Corpus {
 public:
  explicit CountdownCorpus(CountdownCorpusOptions options);
  Document document(uint64_t seed, int64_t index) const override;
  const CountdownTask& task() const { return task_; }

 private:
  CountdownCorpusOptions options_;
  CountdownTask task_;
};

// Stream of document draws of one corpus seed.
Rng document_rng(uint64_t seed, int64_t index);

}  // namespace zeroth
