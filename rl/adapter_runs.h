// Several adapters learnt side by side over one base: a run each, in a folder each, that take turns
// step by step. What they share is memory; each run is the one that its config alone would make,
// byte for byte.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rl/train_loop.h"

namespace zeroth {

// In the folder that holds the runs: the config with its list of adapters.
inline constexpr char kAdaptersFile[] = "adapters.json";

struct AdapterRun {
  std::string name;  // of its folder
  RunConfig config;  // without a list of adapters
};
// The runs of config.adapters, each an object with a "name" and parts of advantage, loss, lora,
// optimizer or trainer, which replace those of `config`. All draw the same problems in the same
// order. Throws Error(kUsage) naming the entry and the field.
std::vector<AdapterRun> adapter_runs(const RunConfig& config);

// Whether the folder holds such runs, and their config with overrides applied.
bool holds_adapter_runs(const std::filesystem::path& folder);
RunConfig recorded_adapters(const std::filesystem::path& folder,
                            const std::vector<std::string>& overrides);

// The runs, all open. The base, published weights, gradients and activations are in memory once;
// adapters, moments, caches and kept activations (trainer.reuse_mb) once a run. One thread.
class AdapterRuns {
 public:
  // New ones in `folder`/NAME. Throws Error when it holds some already.
  static std::unique_ptr<AdapterRuns> create(const std::filesystem::path& folder,
                                             const RunConfig& config);
  // Each goes on from its own newest checkpoint; one that is not there yet begins.
  static std::unique_ptr<AdapterRuns> resume(const std::filesystem::path& folder,
                                             const RunConfig& config,
                                             const ResumeOptions& options = {});

  // See train(): whichever has made the fewest steps is next. `progress` gets the fewest finished
  // and saved steps. When one fails the others are saved, and its error is thrown.
  std::vector<TrainSummary> train(
      const std::atomic<bool>* stop = nullptr,
      const std::function<void(int64_t finished, int64_t saved)>& progress = {});

  const std::vector<std::unique_ptr<TrainingRun>>& runs() const { return runs_; }
  const std::vector<std::string>& names() const { return names_; }

 private:
  void add(const std::string& name, std::unique_ptr<TrainingRun> run);
  const Policy* base() const {
    return runs_.empty() ? nullptr : runs_.front()->parts->policy.get();
  }

  std::vector<std::string> names_;
  std::vector<std::unique_ptr<TrainingRun>> runs_;  // the first one's base is that of all
};

}  // namespace zeroth
