#include "tasks/corpora/corpus_programs.h"

#include <cmath>

#include "tasks/builtin/small_function.h"
#include "tasks/corpora/corpus_countdown.h"

namespace zeroth {
namespace {

struct Example {
  int64_t a, b, want;
};

int64_t run(const std::string& body, const Example& e) {
  int64_t value = 0;
  SmallFunction::parse("lambda a,b:" + body).call(e.a, e.b, &value);
  return value;
}

std::string check_text(const std::string& body, const Example& e, bool ok) {
  return std::to_string(e.a) + "," + std::to_string(e.b) + ":" + std::to_string(run(body, e)) +
         "/" + std::to_string(e.want) + (ok ? "ok" : "no");
}

ProgramsCorpusOptions checked(ProgramsCorpusOptions options) {
  const double total =
      options.share_fitting + options.share_random + options.share_sloppy + options.share_careful;
  if (std::abs(total - 1) > 1e-6) {
    fail_usage("corpus programs: the shares sum to " + std::to_string(total),
               "make the four shares sum to 1");
  }
  options.runner = "native";  // nothing is run, so no sandbox has to hold
  return options;
}

}  // namespace

ProgramsCorpus::ProgramsCorpus(ProgramsCorpusOptions options)
    : options_(checked(std::move(options))), task_(options_) {}

Document ProgramsCorpus::document(uint64_t seed, int64_t index) const {
  Rng rng = document_rng(seed, index);
  const auto size = static_cast<uint32_t>(task_.size(Split::kTrain));
  const Problem problem = task_.problem(Split::kTrain, rng.below(size));
  std::vector<Example> examples;
  for (const Json& e : problem.meta.at("examples")) {
    examples.push_back({e[0].get<int64_t>(), e[1].get<int64_t>(), e[2].get<int64_t>()});
  }
  const std::vector<std::string> bodies = task_.bodies();
  const auto any = [&] { return bodies[rng.below(static_cast<uint32_t>(bodies.size()))]; };
  std::string think, answer = any();
  double pick = rng.uniform();
  if ((pick -= options_.share_fitting) < 0) {
    while (run(answer, examples[0]) != examples[0].want) answer = any();
  } else if ((pick -= options_.share_random) < 0) {
    // the drawn one
  } else if ((pick -= options_.share_sloppy) < 0) {
    think = answer + " " + check_text(answer, examples[0], true) + " " +
            check_text(answer, examples[1], true);
  } else {
    for (const std::string& body : bodies) {
      think += (think.empty() ? "" : " wait ") + body;
      answer = body;
      bool fits = true;
      for (const Example& e : examples) {
        fits = (run(body, e) == e.want) != rng.chance(options_.slip);
        think += " " + check_text(body, e, fits);
        if (!fits) break;
      }
      if (fits) break;
    }
  }
  return {problem.prompt, "<think>" + think + "</think><answer>lambda a,b:" + answer + "</answer>"};
}

}  // namespace zeroth
