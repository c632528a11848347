// The fractions corpus against the task that it prepares for.
#include "tasks/corpora/corpus_fractions.h"

#include <doctest/doctest.h>

#include "rewards/math/math_grader.h"
#include "tasks/options.h"
#include "tasks/task.h"

using namespace zeroth;

TEST_CASE("fractions: working leads to the right answer, held-out problems do not occur") {
  const FractionsCorpusOptions options;
  const FractionsCorpus corpus(options);
  int worked = 0, slips = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    const Document d = corpus.document(3, i);
    CHECK_FALSE(is_held_out(d.prompt, options.held_out_every));
    CHECK(d.response == corpus.document(3, i).response);
    const bool thinks = d.response.rfind("<think></think>", 0) != 0;
    if (!thinks) continue;
    ++worked;
    // The prompt's own formula is the gold.
    const std::string gold = d.prompt.substr(8, d.prompt.size() - 9);
    MathOptions tags;
    tags.format = AnswerFormat::kAnswerTag;
    const MathVerdict v = grade_math(gold, d.response, tags);
    CAPTURE(d.prompt);
    CAPTURE(d.response);
    CHECK((v.reason == Reason::kCorrect || v.reason == Reason::kWrong));
    slips += v.score == 0;
  }
  CHECK(worked > 400);
  CHECK(worked < 600);
  CHECK(slips < 20);
}

TEST_CASE("the math task reads MATH's format and accepts every spelling of the boxed answer") {
  const auto task = make_task("math", Json{{"path", "models/fractions/problems.jsonl"},
                                           {"template", "bare"},
                                           {"held_out_every", 5},
                                           {"answer_place", "tags"}});
  CHECK(task->size(Split::kTrain) + task->size(Split::kHeldOut) == 1200);
  const Problem p = task->problem(Split::kTrain, 0);
  const std::string value = p.prompt.substr(8, p.prompt.size() - 9);  // $..$
  const auto score = [&](const std::string& answer) {
    return task->grade(p, "<think></think><answer>" + answer + "</answer>", FinishReason::kStop)[0]
        .score;
  };
  CHECK(score(value) == 1);
  CHECK(score(p.answer) == 1);
  CHECK(score("\\frac{997}{998}") == 0);
}
