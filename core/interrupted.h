// Work that was given up because somebody asked for it.
#pragma once

#include <atomic>
#include <string>

#include "core/error.h"

namespace zeroth {

// Thrown where a stop flag was found set. Nothing is wrong; the caller saves what it has and ends.
class Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& what, const std::string& fix = "")
      : Error(ExitCode::kFailed, what, fix) {}
};

// Throws Interrupted when `stop` is set; null never is.
inline void check_stop(const std::atomic<bool>* stop, const std::string& what) {
  if (stop != nullptr && stop->load()) throw Interrupted(what + " was interrupted");
}

}  // namespace zeroth
