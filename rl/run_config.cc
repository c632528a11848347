#include "rl/run_config.h"

#include "core/error.h"
#include "rl/run_folder.h"

namespace zeroth {
void check_run_config(const RunConfig& config) {
  config.shaping.check();
  if (config.sampling.temperature <= 0) {
    fail_usage("sampling.temperature = 0: greedy samples of a group are all equal",
               "train with a temperature above 0, for example 1");
  }
  if (config.overlong.buffer >= config.sampling.max_tokens && config.overlong.buffer > 0) {
    fail_usage(
        "overlong.buffer = " + std::to_string(config.overlong.buffer) +
            " is not below sampling.max_tokens = " + std::to_string(config.sampling.max_tokens),
        "choose a smaller buffer or longer completions");
  }
  config.loss.check();
  if (config.trainer.reference_refresh > 0 && config.loss.beta == 0) {
    fail_usage("trainer.reference_refresh = " + std::to_string(config.trainer.reference_refresh) +
                   " needs a reference, and loss.beta is 0",
               "set loss.beta above 0, or trainer.reference_refresh to 0");
  }
  if (config.trainer.mini_batches > config.prompts_per_step) {
    fail_usage("trainer.mini_batches = " + std::to_string(config.trainer.mini_batches) +
                   " exceeds prompts_per_step = " + std::to_string(config.prompts_per_step),
               "every mini-batch needs at least one group");
  }
}

RunConfig read_run_config(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides) {
  RunConfig config;
  load_config(config, read_config_file(file), file.string());
  for (const std::string& assignment : overrides) override_config(config, assignment);
  check_run_config(config);
  return config;
}

const std::vector<std::string>& free_fields() {
  static const std::vector<std::string> fields = {
      "model",     "steps",      "engine", "record", "checkpoint_every",
      "keep_last", "evaluation", "probe",  "alarms"};
  return fields;
}

}  // namespace zeroth
