#include "tasks/corpora/corpus_arithmetic.h"

#include "tasks/corpora/corpus_countdown.h"

namespace zeroth {

Document ArithmeticCorpus::document(uint64_t seed, int64_t index) const {
  Rng rng = document_rng(seed, index);
  const Problem problem = task_.problem(Split::kTrain, rng.bits() >> 1);
  const bool thinks = rng.chance(options_.share_long);
  Working working{"", std::stoll(problem.answer)};
  if (thinks) {
    working =
        work_out(problem.meta.at("a").get<int64_t>(), problem.meta.at("op").get<std::string>()[0],
                 problem.meta.at("b").get<int64_t>(), [&](int64_t right) {
                   if (options_.step_slip <= 0 || !rng.chance(options_.step_slip)) return right;
                   const int64_t off = 1 + rng.below(2);
                   return rng.chance(0.5) || off > right ? right + off : right - off;
                 });
  }
  int64_t& result = working.result;
  if (rng.chance(options_.slip))
    result += rng.chance(0.5) ? 1 + rng.below(9) : -1 - static_cast<int64_t>(rng.below(9));
  return {problem.prompt,
          "<think>" + working.lines + "</think><answer>" + std::to_string(result) + "</answer>"};
}

}  // namespace zeroth
