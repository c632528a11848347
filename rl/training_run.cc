#include "rl/training_run.h"

#include "core/error.h"
#include "kernels/limits.h"
#include "model/formats/gguf_model.h"
#include "rl/chat.h"
#include "rl/run_folder.h"
#include "rollout/roofline.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

Vocabulary vocabulary_of(const Tokenizer& tokenizer) {
  Vocabulary vocabulary;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    vocabulary.push_back(tokenizer.token_bytes(id));
  return vocabulary;
}

}  // namespace

RunConfig recorded_config(const fs::path& folder, const std::vector<std::string>& overrides) {
  if (!holds_run(folder)) {
    fail(folder.string() + " holds no run: there is no config.json",
         "start it with zeroth train CONFIG.json --out " + folder.string());
  }
  return read_run_config(folder / "config.json", overrides);
}

TrainingRun::TrainingRun(const fs::path& path, const RunConfig& run_config)
    : folder(path), config(run_config), lock(make_run_folder(path)), alarms(run_config.alarms) {
  check_run_config(config);
}

void TrainingRun::open(const fs::path& model) {
  tokenizer = load_tokenizer(model);
  task = make_task(config.task.name, with_chat_template(config.task.options, *tokenizer));
  tokenizer_files = read_tokenizer_files(*tokenizer);
  policy = Policy::load(model);
  std::unique_ptr<Policy> reference;
  if (config.loss.beta > 0) reference = Policy::load(model);
  trainer = std::make_unique<Trainer>(*policy, std::move(reference), config.trainer, config.loss,
                                      config.optimizer, config.seed, config.steps,
                                      config.sampling.max_tokens, config.sampling.temperature);
  engine = std::make_unique<Engine>(policy->weights(), tokenizer.get(), config.engine);
  rollouts =
      std::make_unique<Rollouts>(config, *task, *tokenizer, *engine, trainer->activation_store(),
                                 &background);

  RecorderOptions options;
  options.record = config.record;
  options.total_steps = config.steps;
  options.run_info = {{"task", {{"name", config.task.name}, {"options", config.task.options}}},
                      {"seed", config.seed},
                      {"samples_per_prompt", config.samples_per_prompt}};
  if (policy->config().is_moe()) {
    // What readers need to take recorded expert ids apart by layer.
    options.run_info["moe"] = {{"layers", policy->config().moe_layers()},
                               {"top_k", policy->config().router.top_k},
                               {"experts", policy->config().router.experts}};
  }
  options.vocabulary = vocabulary_of(*tokenizer);
  if (!task->grades_here()) {
    std::string why;  // candidate answers stay ungraded then, as in a reader of the run
    candidate_task = make_task_to_look(config.task.name, config.task.options, &why);
  }
  options.task = task->grades_here() ? task.get() : candidate_task.get();
  recorder = std::make_unique<RunRecorder>(folder, std::move(options));

  constexpr double kTypicalContext = 64;  // attention is a small part; MFU is a rough figure anyway
  flops_per_token = Roofline(policy->config()).forward_flops(kTypicalContext);
  peak_flops = kernels::measure_limits(0.2).gflops * 1e9;
}

void TrainingRun::restore(const TrainingCheckpoint& checkpoint) {
  restore_trainer(checkpoint, *policy, trainer->optimizer(), trainer->reference());
  policy->publish(checkpoint.optimizer_steps);
  first_step = checkpoint.step;
  saved_step = checkpoint.step;
  say_passed_over(checkpoint);
  mend_latest(folder, checkpoint.step);
  try {
    counters.draws = checkpoint.state.at("draws").get<int64_t>();
    counters.num_tokens = checkpoint.state.at("num_tokens").get<int64_t>();
    counters.max_logp_difference = checkpoint.state.at("max_logp_difference").get<double>();
    alarms.restore(checkpoint.state.at("alarms"));
    rollouts->restore_curriculum(checkpoint.state.value("curriculum", Json()));
  } catch (const nlohmann::json::exception& error) {
    fail(checkpoint.folder.string() + "/trainer_state.json: " + error.what(),
         "resume with the build that wrote the run");
  }
}

std::unique_ptr<TrainingRun> TrainingRun::create(const fs::path& folder, const RunConfig& config) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config));
  refuse_old_run(folder, "train");
  run->open(config.model);
  write_run_config(folder, dump_config(run->config));
  return run;
}

std::unique_ptr<TrainingRun> TrainingRun::resume(const fs::path& folder, const RunConfig& config) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config));
  const auto checkpoint = checkpoint_to_resume(folder, "train");
  if (holds_run(folder)) refuse_other_run(folder, dump_config(run->config), free_fields());
  run->open(checkpoint ? checkpoint->folder : fs::path(config.model));
  if (checkpoint) run->restore(*checkpoint);
  run->recorder->truncate_to(run->first_step - 1, set_aside_folder(folder));
  write_run_config(folder, dump_config(run->config));
  return run;
}

void TrainingRun::save(int64_t step) {
  if (step == saved_step) return;
  recorder->sync();
  const Json state = {{"draws", counters.draws},
                      {"num_tokens", counters.num_tokens},
                      {"max_logp_difference", counters.max_logp_difference},
                      {"alarms", alarms.state()},
                      {"curriculum", rollouts->curriculum_state()}};
  save_checkpoint(folder, step,
                  {*policy, tokenizer_files, trainer->optimizer(), trainer->reference(), state},
                  config.keep_last);
  saved_step = step;
  fs::remove_all(set_aside_folder(folder));
}

}  // namespace zeroth
