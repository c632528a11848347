// Processes that run sandboxed jobs, so that a large trainer never copies itself for one.
#pragma once

#include <memory>
#include <vector>

#include "rewards/sandbox/sandbox.h"

namespace zeroth {

// Each worker runs one job at a time in a seat of its own. It is a small fork of this process made
// at construction; a killed one is replaced and its job run again (three times at most). Workers
// have sessions of their own: when this process ends, kill -9 included, each ends its job, removes
// its control group and goes. Thread safe: calls are serialised.
class SandboxPool {
 public:
  explicit SandboxPool(int workers);  // 0 = one per core
  ~SandboxPool();
  SandboxPool(const SandboxPool&) = delete;
  SandboxPool& operator=(const SandboxPool&) = delete;
  // Results in the order of the jobs; blocks until all are done.
  std::vector<SandboxResult> run(const std::vector<SandboxJob>& jobs);
  std::vector<int> worker_pids() const;  // for tests

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
