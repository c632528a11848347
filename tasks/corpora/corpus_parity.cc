#include "tasks/corpora/corpus_parity.h"

#include "tasks/corpora/corpus_countdown.h"

namespace zeroth {

Document ParityCorpus::document(uint64_t seed, int64_t index) const {
  Rng rng = document_rng(seed, index);
  const Problem problem = task_.problem(Split::kTrain, rng.bits() >> 1);
  const bool thinks = rng.chance(options_.share_long);
  const std::string chain = task_.chain(problem.meta.at("bits").get<std::string>());
  return {problem.prompt, (thinks ? "<think>" + chain + "</think>" : "") + problem.answer};
}

}  // namespace zeroth
