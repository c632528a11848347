// macOS: prepared, and never tried on such a machine. There is no sandbox: its layers are Linux's,
// and untrusted programs never run without it.
#include <utility>

#include "core/error.h"
#include "rewards/sandbox/sandbox.h"
#include "rewards/sandbox/sandbox_pool.h"

namespace zeroth {
namespace {

constexpr const char* kWhy = "the sandbox needs Linux (namespaces, seccomp, control groups)";

SandboxResult none() {
  SandboxResult result;
  result.error = kWhy;
  return result;
}

}  // namespace

class Cgroup {};

SandboxSeat::SandboxSeat(int lifeline) : lifeline_(lifeline) {}
SandboxSeat::~SandboxSeat() = default;
SandboxResult SandboxSeat::run(const SandboxJob&) { return none(); }

struct SandboxPool::Impl {};
SandboxPool::SandboxPool(int) {}
SandboxPool::~SandboxPool() = default;
std::vector<SandboxResult> SandboxPool::run(const std::vector<SandboxJob>& jobs) {
  return std::vector<SandboxResult>(jobs.size(), none());
}
std::vector<int> SandboxPool::worker_pids() const { return {}; }

bool SandboxProbe::sufficient() const { return false; }
std::string SandboxProbe::text() const { return std::string(kWhy) + "\n"; }

const SandboxProbe& probe_sandbox() {
  static const SandboxProbe probe = [] {
    SandboxProbe made;
    made.layers.push_back({"linux", false, true, kWhy});
    return made;
  }();
  return probe;
}

}  // namespace zeroth
