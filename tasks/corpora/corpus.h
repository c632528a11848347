// Procedural text for pretraining a base checkpoint. Only `zeroth pretrain` may use it:
// reinforcement learning never sees a document (rl/train_loop does not link to it; a test guards
// that).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/rng.h"

namespace zeroth {

struct Document {
  std::string prompt;    // no loss on these tokens
  std::string response;  // loss on these and the end-of-text that follows
};

// document(seed, index) is a pure function. Thread safe.
class Corpus {
 public:
  virtual ~Corpus() = default;
  virtual Document document(uint64_t seed, int64_t index) const = 0;
};

std::unique_ptr<Corpus> make_corpus(const std::string& name, const Json& options);

}  // namespace zeroth
