#include "rl/training_run.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/sha256.h"
#include "core/terminal.h"
#include "core/version.h"
#include "kernels/limits.h"
#include "model/formats/gguf_model.h"
#include "rl/chat.h"
#include "rl/inputs.h"
#include "rl/recording_gaps.h"
#include "rl/shared_sampler.h"
#include "rollout/local_sampler.h"
#include "rollout/roofline.h"
#include "text/jinja/template.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// In a checkpoint: what was sampled ahead and not trained on yet.
const char* pending_file(const AsyncConfig& async) {
  return async.max_staleness > 0 ? "elastic.bin" : "pending.bin";
}
constexpr char kJournalFile[] = "journal.jsonl";

Vocabulary vocabulary_of(const Tokenizer& tokenizer) {
  Vocabulary vocabulary;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    vocabulary.push_back(tokenizer.token_bytes(id));
  return vocabulary;
}

// Whether the reference policy is to be the base although the checkpoint has none: the KL term was
// switched on by a change.
bool changes_reference(const TrainingCheckpoint& checkpoint, const RunConfig& config,
                       const ResumeOptions& options) {
  return config.loss.beta > 0 && covered("loss.beta", options.changed) &&
         !has_reference(checkpoint);
}

Json history_entry(const std::string& event, int64_t step) {
  return {{"event", event},
          {"step", step},
          {"time", utc_time()},
          {"version", version_string()},
          {"git", git_revision()}};
}

// A schedule depends on the number of steps, so another number moves the rate of the next step.
void say_learning_rate(const Json& recorded, const RunConfig& config, int64_t step) {
  RunConfig before;
  load_config(before, recorded, "the recorded config");
  const double was =
      learning_rate(before.optimizer, std::min(step, before.steps - 1), before.steps);
  const double now = learning_rate(config.optimizer, step, config.steps);
  if (was == now) return;
  std::fprintf(stderr, "the learning rate of the next step is %.4g instead of %.4g\n", now, was);
}

// A replay has one config for all steps.
void refuse_changed_run(const fs::path& folder, const RunNotes& notes) {
  static const std::vector<std::string> harmless = {"model",
                                                    "fleet",
                                                    "engine.max_batch",
                                                    "engine.cache_pages",
                                                    "engine.cache_mb",
                                                    "engine.prefill_chunk",
                                                    "record.progress",
                                                    "record.print_every",
                                                    "checkpoint_every",
                                                    "keep_last",
                                                    "keep_every",
                                                    "trainer.micro_batch_tokens",
                                                    "trainer.reuse_mb",
                                                    "trainer.recompute"};
  for (const Json& entry : notes.history) {
    std::string what = entry.contains("inputs") ? "files that it reads" : "";
    const Json changes = entry.value("changes", Json::object());
    for (const auto& [name, values] : changes.items()) {
      if (!covered(name, harmless)) what = name;
    }
    if (what.empty()) continue;
    fail(folder.string() + " was changed at step " + entry.value("step", Json()).dump() + ": " +
             what,
         "only runs that kept their config are made again");
  }
}

}  // namespace

RunConfig recorded_config(const fs::path& folder, const std::vector<std::string>& overrides) {
  if (!holds_run(folder)) {
    fail(folder.string() + " holds no run: there is no config.json",
         "start it with zeroth train CONFIG.json --out " + folder.string());
  }
  return read_run_config(folder / "config.json", overrides);
}

TrainingRun::TrainingRun(const fs::path& path, const RunConfig& run_config, Team* members)
    : folder(path),
      config(run_config),
      team(members),
      alarms(run_config.alarms, run_config.trainer.patience) {
  check_run_config(config);
  if (team != nullptr) check_ranks(config, team->size());
  if (leads()) {
    lock.emplace(make_run_folder(path));
    watch.emplace(path);
  }
  // The others look at the folder when it is locked and before anything in it changes.
  if (team != nullptr) team->gather("opening the run", "");
}

void TrainingRun::check_same_weights() const {
  if (team == nullptr) return;
  Sha256 hash;
  const std::span<const float> values = policy->parameters().values();
  hash.update(values.data(), values.size_bytes());
  const auto all = team->gather("loaded weights", hash.hex());
  for (int r = 1; r < team->size(); ++r) {
    if (all[r] == all[0]) continue;
    fail("rank " + std::to_string(r) + " has loaded other weights than rank 0",
         "the model and the run's folder are to be the same files on all machines");
  }
}

void TrainingRun::open(const fs::path& model, const fs::path& reference_model) {
  tokenizer = load_tokenizer(model);
  task = make_task(config.task.name,
                   with_chat_template(config.task.options, *tokenizer, config.prompt.date));
  tokenizer_files = read_tokenizer_files(*tokenizer);
  policy = Policy::load(model, config.policy.element());
  for (const std::string& note : policy->config().notes) {
    if (!leads()) break;
    std::fprintf(stderr, "note: %s\n", printable(note).c_str());
  }
  const int64_t context = policy->config().max_position;
  const PromptEncoder prompts(*tokenizer, config.prompt.bos);
  screen = std::make_unique<PromptScreen>(*task, prompts, context, config.sampling.max_tokens,
                                          config.data);
  evaluations = std::make_unique<EvaluationSets>(config, *task, *screen, *tokenizer, context);
  for (const auto* lines : {&screen->lines(), &evaluations->lines()}) {
    if (!leads()) break;
    for (const std::string& line : *lines) std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::unique_ptr<Policy> reference;
  if (config.loss.beta > 0) reference = Policy::load(reference_model, config.policy.element());
  trainer = std::make_unique<Trainer>(
      *policy, std::move(reference), config.trainer, config.loss, config.optimizer, config.seed,
      config.steps, config.sampling.max_tokens, config.sampling.temperature, team);
  if (config.async.ahead()) trainer->expect_older_weights();
  open_sampler();
  rollouts = std::make_unique<Rollouts>(config, *task, *tokenizer, *sampler, &background,
                                        screen.get(), team);
  open_pipeline();

  open_recorder();
  constexpr double kTypicalContext = 64;  // attention is a small part; MFU is a rough figure anyway
  flops_per_token = Roofline(policy->config()).forward_flops(kTypicalContext);
  peak_flops = kernels::measure_limits(0.2).gflops * 1e9;
}

void TrainingRun::open_recorder() {
  if (!leads()) {
    recorder = std::make_unique<RunRecorder>();
    return;
  }
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
}

void TrainingRun::open_sampler() {
  const bool workers = !config.fleet.listen.empty();
  if (workers && leads()) sampler = fleet_sampler();
  if (!workers) {
    // What older weights have computed is of no use to an update.
    ActivationStore* store = config.async.ahead() ? nullptr : trainer->activation_store();
    sampler =
        std::make_unique<LocalSampler>(policy->weights(), tokenizer.get(), config.engine, store);
  }
  if (team == nullptr) return;
  const auto shares = workers ? SharedSampler::Shares::kFirst : SharedSampler::Shares::kEqual;
  sampler = std::make_unique<SharedSampler>(std::move(sampler), *team, shares);
}

std::unique_ptr<Sampler> TrainingRun::fleet_sampler() {
  fleet::FleetSetup setup;
  setup.model = policy->config();
  setup.element = config.policy.element();
  setup.tokenizer_files = tokenizer_files;
  setup.tokenizer = tokenizer.get();
  setup.record_experts = config.engine.record_experts;
  setup.folder = folder / "fleet";
  auto workers = std::make_unique<fleet::FleetSampler>(
      policy->weights(), config.fleet, std::move(setup),
      [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
  fleet = workers.get();
  return workers;
}

void TrainingRun::open_pipeline() {
  end_step = config.steps;
  if (config.async.max_staleness == 0) {
    pipeline = std::make_unique<StepPipeline>(*rollouts, *sampler, config.async.lag, config.steps);
    return;
  }
  ElasticOptions options;
  options.journal = folder / kJournalFile;
  if (!replayed_.empty()) options.replay = replayed_ / kJournalFile;
  if (fleet == nullptr) options.most_in_flight = config.engine.max_batch;
  options.local = [this](WeightsPtr weights) -> std::unique_ptr<Sampler> {
    return std::make_unique<LocalSampler>(std::move(weights), tokenizer.get(), config.engine);
  };
  auto made = std::make_unique<ElasticPipeline>(*rollouts, *sampler, config, std::move(options));
  elastic = made.get();
  pipeline = std::move(made);
  if (!replayed_.empty()) end_step = std::min(end_step, elastic->replayed_steps());
}

void TrainingRun::restore_pending(const TrainingCheckpoint& checkpoint) {
  const fs::path file = checkpoint.folder / pending_file(config.async);
  const std::string pending =
      pipeline->lagged() && fs::exists(file) ? read_file(file, UINT64_MAX) : std::string();
  pipeline->restore(checkpoint.step, counters.draws, pending, file.string());
}

void TrainingRun::restore(const TrainingCheckpoint& checkpoint, const ResumeOptions& options) {
  const bool new_reference = changes_reference(checkpoint, config, options);
  restore_trainer(checkpoint, *policy, trainer->optimizer(),
                  new_reference ? nullptr : trainer->reference(), team);
  sampler->publish(nullptr);  // of the model as it was loaded
  sampler->publish(policy->publish(checkpoint.optimizer_steps));
  first_step = checkpoint.step;
  saved_step = checkpoint.step;
  if (leads()) say_passed_over(checkpoint);
  if (leads()) mend_latest(folder, checkpoint.step);
  try {
    counters.draws = checkpoint.state.at("draws").get<int64_t>();
    restore_pending(checkpoint);
    counters.num_tokens = checkpoint.state.at("num_tokens").get<int64_t>();
    counters.max_logp_difference = checkpoint.state.at("max_logp_difference").get<double>();
    alarms.restore(checkpoint.state.at("alarms"));
    const Json best = checkpoint.state.value("best", Json());
    if (best.is_object() && best.at("metric") == config.keep_best) {
      counters.best_step = best.at("step").get<int64_t>();
      counters.best_value = best.at("value").get<double>();
    }
    if (std::any_of(options.changed.begin(), options.changed.end(), [](const std::string& name) {
          return name.starts_with("curriculum") || name.starts_with("task");
        })) {
      if (config.curriculum.mode != "uniform" && leads())
        std::fprintf(stderr,
                     "the curriculum starts anew: what it had learnt was of other problems\n");
    } else {
      rollouts->restore_curriculum(checkpoint.state.value("curriculum", Json()));
    }
  } catch (const nlohmann::json::exception& error) {
    fail(checkpoint.folder.string() + "/trainer_state.json: " + error.what(),
         "resume with the build that wrote the run");
  }
}

std::unique_ptr<TrainingRun> TrainingRun::create(const fs::path& folder, const RunConfig& config,
                                                 Team* team) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, team));
  // A chat template may write the date: the run keeps the one it began with.
  std::string& date = run->config.prompt.date;
  if (date.empty()) date = jinja::to_string(jinja::current_date());
  if (run->leads()) refuse_old_run(folder, "train");
  if (team != nullptr) date = team->from_first("the date of the run", date);
  run->open(config.model, config.model);
  run->check_same_weights();
  if (!run->leads()) return run;
  run->notes.inputs = run->fingerprint();
  run->notes.history = {history_entry("started", 0)};
  write_run_config(folder, dump_config(run->config), run->notes);
  return run;
}

std::unique_ptr<TrainingRun> TrainingRun::resume(const fs::path& folder, const RunConfig& config,
                                                 const ResumeOptions& options, Team* team) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, team));
  const auto checkpoint = checkpoint_to_resume(folder, "train");
  if (team != nullptr) {
    const std::string here = std::to_string(checkpoint ? checkpoint->step : -1);
    const std::string first = team->from_first("the newest checkpoint", here);
    if (here != first) {
      fail("rank " + std::to_string(team->rank()) + " finds step " + here + " as the newest in " +
               folder.string() + ", rank 0 step " + first,
           "the run's folder is to be on a file system that all ranks share");
    }
  }
  Json recorded;
  if (holds_run(folder)) {
    // Read as a config, so that fields that are newer than the run have their defaults.
    RunConfig before = read_run_config(folder / "config.json", {});
    recorded = dump_config(before);
    if (run->config.prompt.date.empty()) run->config.prompt.date = before.prompt.date;
    refuse_other_run(folder, recorded, dump_config(run->config), free_fields(), options.changed);
  }
  if (checkpoint && config.steps < checkpoint->step) {
    fail_usage(folder.string() + " has made " + std::to_string(checkpoint->step) +
                   " steps; steps = " + std::to_string(config.steps) + " is less",
               "give a larger number, or start a new run from an earlier checkpoint");
  }
  if (checkpoint && fs::exists(checkpoint->folder / pending_file(run->config.async)) &&
      run->config.async.max_staleness > 0)
    ElasticPipeline::check_journal(folder / kJournalFile, checkpoint->step);
  run->notes = read_run_notes(folder);
  const fs::path model = checkpoint ? checkpoint->folder : fs::path(config.model);
  run->open(model, checkpoint && changes_reference(*checkpoint, config, options)
                       ? fs::path(config.model)
                       : model);
  run->refuse_changed_inputs(options);
  if (checkpoint) run->restore(*checkpoint, options);
  run->check_same_weights();
  if (!run->leads()) return run;
  run->recorder->truncate_to(run->first_step - 1, set_aside_folder(folder));
  // What was recorded of steps behind the checkpoint is of a run that is no more.
  if (run->elastic != nullptr && (!options.changed.empty() || !run->changed_inputs_.empty()))
    run->elastic->forget_recorded(set_aside_folder(folder));
  run->note_resumption(recorded);
  return run;
}

std::unique_ptr<TrainingRun> TrainingRun::replay(const fs::path& other, const fs::path& folder) {
  RunConfig config = recorded_config(other, {});
  if (config.async.max_staleness == 0) {
    fail_usage(other.string() + " has async.max_staleness = 0: its config alone makes it again",
               "zeroth train " + (other / "config.json").string() + " --out " + folder.string());
  }
  const RunNotes notes = read_run_notes(other);
  refuse_changed_run(other, notes);
  config.fleet = {};
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, nullptr));
  refuse_old_run(folder, "train");
  run->replayed_ = other;
  run->open(config.model, config.model);
  run->notes.inputs = run->fingerprint();
  for (const std::string& line : changed_inputs(notes.inputs, run->notes.inputs)) {
    fail("what " + other.string() + " reads is not what it was started with: " + line,
         "bring it back");
  }
  const auto checkpoint = newest_checkpoint(other);
  if (checkpoint && checkpoint->step > run->end_step) {
    fail((other / kJournalFile).string() + " has " + std::to_string(run->end_step) +
             " steps, but there is a checkpoint of step " + std::to_string(checkpoint->step),
         "bring back the whole file");
  }
  run->notes.history = {history_entry("started", 0)};
  run->notes.history[0]["replay_of"] = fs::absolute(other).string();
  write_run_config(folder, dump_config(run->config), run->notes);
  return run;
}

Json TrainingRun::fingerprint() const {
  const Json options = {config.task.options, evaluations->options()};
  return fingerprint_inputs(options, *task, tokenizer_files);
}

void TrainingRun::refuse_changed_inputs(const ResumeOptions& options) {
  const Json now = fingerprint();
  const auto lines = changed_inputs(notes.inputs, now);
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  // A change of the task's options is asked for, and may well name other files.
  const bool asked = std::any_of(options.changed.begin(), options.changed.end(),
                                 [](const std::string& name) { return name.starts_with("task"); });
  if (!lines.empty() && !options.accept_changed_data && !asked) {
    fail("what " + folder.string() + " reads is not what it was started with:" + text,
         "bring it back, or go on with what is there now, which is recorded in the run's history: "
         "--accept-changed-data");
  }
  if (!lines.empty() && leads()) {
    std::fprintf(stderr, "changed since the run was started:%s\n", text.c_str());
    changed_inputs_ = lines;
  }
  notes.inputs = now;
}

void TrainingRun::note_resumption(const Json& recorded) {
  Json wanted = dump_config(config);
  Json entry = history_entry("resumed", first_step);
  if (recorded.is_object()) entry["changes"] = config_changes(recorded, wanted);
  if (!changed_inputs_.empty()) entry["inputs"] = changed_inputs_;
  const Json before = notes.provenance.is_object() ? notes.provenance : Json::object();
  for (const char* name : {"version", "git"}) {
    if (before.value(name, std::string()) == entry.value(name, std::string())) entry.erase(name);
  }
  if (recorded.is_object() && !entry["changes"].empty()) {
    for (const auto& [name, values] : entry["changes"].items()) {
      std::fprintf(stderr, "%s: %s, now %s\n", name.c_str(), values[0].dump().c_str(),
                   values[1].dump().c_str());
    }
    say_learning_rate(recorded, config, first_step);
  }
  const bool same = !entry.contains("changes") || entry["changes"].empty();
  if (same) entry.erase("changes");
  if (!same || !changed_inputs_.empty() || entry.contains("version") || entry.contains("git"))
    notes.history.push_back(std::move(entry));
  for (const std::string& line : recording_gaps(folder, first_step, config.record))
    std::fprintf(stderr, "%s\n", line.c_str());
  write_run_config(folder, std::move(wanted), notes);
}

std::string TrainingRun::prompt_report() const {
  const PromptEncoder prompts(*tokenizer, config.prompt.bos);
  const Problem problem = task->problem(Split::kTrain, 0);
  return prompts.report("prompt of problem 0", encode_prompt(prompts, *task, problem));
}

void TrainingRun::save(int64_t step) {
  if (step == saved_step) return;
  if (watch) watch->check();
  recorder->sync();
  pipeline->drain();
  Json state = {{"draws", pipeline->draws()},
                {"num_tokens", counters.num_tokens},
                {"max_logp_difference", counters.max_logp_difference},
                {"alarms", alarms.state()},
                {"curriculum", rollouts->curriculum_state()}};
  if (counters.best_step >= 0) {
    state["best"] = {
        {"metric", config.keep_best}, {"step", counters.best_step}, {"value", counters.best_value}};
  }
  std::map<std::string, std::string> more;
  if (pipeline->lagged()) more[pending_file(config.async)] = pipeline->pending();
  save_checkpoint(folder, step,
                  {*policy, tokenizer_files, trainer->optimizer(), trainer->reference(), state,
                   std::move(more), team},
                  {config.keep_last, config.keep_every, counters.best_step});
  if (watch) watch->check();
  saved_step = step;
  if (leads()) fs::remove_all(set_aside_folder(folder));
}

void TrainingRun::consider_best(int64_t step, const Json& row, bool expected, bool can_save) {
  if (config.keep_best.empty()) return;
  const bool less = config.keep_best.starts_with("-");
  const std::string metric = config.keep_best.substr(less ? 1 : 0);
  const auto found = row.find(metric);
  if (found == row.end() || !found->is_number()) {
    if (!expected) return;
    std::vector<std::string> names;
    for (const auto& [name, value] : row.items()) {
      if (value.is_number()) names.push_back(name);
    }
    const std::string near = nearest(metric, names);
    fail_usage("keep_best: there is no metric \"" + metric + "\"",
               (near.empty() ? "" : "did you mean \"" + near + "\"? ") +
                   std::string("the rows of metrics.jsonl show the names"));
  }
  double value = found->get<double>();
  // A metric that is a time is another one on every rank.
  if (team != nullptr)
    value = std::strtod(team->from_first("keep_best", Json(value).dump()).c_str(), nullptr);
  const bool better =
      counters.best_step < 0 || (less ? value < counters.best_value : value > counters.best_value);
  if (!better || !std::isfinite(value) || (step != saved_step && !can_save)) return;
  counters.best_step = step;
  counters.best_value = value;
  save(step);
  if (leads()) point_best(folder, step);
}

}  // namespace zeroth
