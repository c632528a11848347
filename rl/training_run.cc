#include "rl/training_run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "kernels/back_ends.h"
#include "model/formats/provenance.h"
#include "rl/chat.h"
#include "rl/inputs.h"
#include "rl/same_inputs.h"
#include "text/jinja/template.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr char kAsideFile[] = "aside.bin";    // groups that a token budget has set aside
constexpr char kReplayFile[] = "replay.bin";  // in a checkpoint: groups that may be replayed

// In a checkpoint: what was sampled ahead and not trained on yet.
const char* pending_file(const AsyncConfig& async) {
  return async.max_staleness > 0 ? "elastic.bin" : "pending.bin";
}

// Whether the reference policy is to be the base although the checkpoint has none: the KL term was
// switched on by a change.
bool changes_reference(const TrainingCheckpoint& checkpoint, const RunConfig& config,
                       const ResumeOptions& options) {
  return config.loss.beta > 0 && covered("loss.beta", options.changed) &&
         !has_reference(checkpoint);
}

// Whether a field of a part of the config changes.
bool changes_part(const ResumeOptions& options, const std::string& part) {
  return std::any_of(options.changed.begin(), options.changed.end(),
                     [&](const std::string& name) { return name.starts_with(part); });
}

// All ranks must have found the same checkpoint.
void check_same_checkpoint(Team& team, const fs::path& folder,
                           const std::optional<TrainingCheckpoint>& checkpoint) {
  const std::string here = std::to_string(checkpoint ? checkpoint->step : -1);
  const std::string first = team.from_first("the newest checkpoint", here);
  if (here == first) return;
  fail("rank " + std::to_string(team.rank()) + " finds step " + here + " as the newest in " +
           folder.string() + ", rank 0 step " + first,
       "the run's folder is to be on a file system that all ranks share");
}

}  // namespace

RunConfig recorded_config(const fs::path& folder, const std::vector<std::string>& overrides) {
  if (!holds_run(folder)) {
    fail(folder.string() + " holds no run: there is no config.json",
         "start it with zeroth train CONFIG.json --out " + folder.string());
  }
  return read_run_config(folder / "config.json", overrides);
}

// ---- opening

TrainingRun::TrainingRun(const fs::path& path, const RunConfig& run_config, Team* members)
    : folder(path),
      config(run_config),
      team(members),
      history(path),
      earlier(config.replay),
      best(run_config.keep_best),
      alarms(run_config.alarms, run_config.trainer.patience) {
  check_run_config(config);
  if (!config.adapters.empty()) {
    fail_usage("adapters: a config of several runs, where one is wanted",
               "start it with zeroth train");
  }
  config.device.operators();  // one that is not there is refused before there is a folder
  if (team != nullptr) check_ranks(config, team->size());
  if (leads()) {
    lock.emplace(make_run_folder(path));
    watch.emplace(path);
  }
  // The others look at the folder when it is locked and before anything in it changes.
  if (team != nullptr) team->gather("opening the run", "");
}

void TrainingRun::open(const fs::path& model, const fs::path& reference, const fs::path& replay,
                       const Policy* base) {
  parts =
      std::make_unique<RunParts>(config, PartsSource{folder, model, reference, base, replay, team});
  end_step = config.steps;
  if (!replay.empty()) end_step = std::min(end_step, parts->elastic->replayed_steps());
  peak_flops = kernels::limits_of(config.device.device, 0.2).gflops * 1e9;
}

void TrainingRun::check_same_ranks() const {
  if (team == nullptr) return;
  check_same_inputs(*team, fingerprint());
  check_same_weights(*team, *parts->policy, "weights");
  if (const Policy* reference = parts->trainer->reference())
    check_same_weights(*team, *reference, "weights of the reference");
}

// AlphaZero's condition: nothing that anyone wrote has been learnt.
void TrainingRun::check_zero() const {
  if (!config.zero) return;
  const std::vector<std::string> supervised = supervised_stages(before_);
  if (!supervised.empty()) {
    fail_usage("zero is set, and " + config.model +
                   " has learnt from given completions: " + supervised.front() +
                   (supervised.size() > 1
                        ? ", and so in " + std::to_string(supervised.size() - 1) + " more stages"
                        : ""),
               "start from a base (zeroth describe shows the line of descent), or leave zero out");
  }
  if (leads() && !before_.empty() && before_.front().value("made_by", "") == "unknown") {
    std::fprintf(stderr, "zero: nothing is recorded of how %s was made; it counts as a base\n",
                 before_.front().value("model", config.model).c_str());
  }
}

Json TrainingRun::fingerprint() const {
  const Json options = {config.task.options, parts->evaluations->options()};
  return fingerprint_inputs(options, *parts->task, parts->tokenizer_files);
}

std::unique_ptr<TrainingRun> TrainingRun::create(const fs::path& folder, const RunConfig& config,
                                                 Team* team, const Policy* base) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, team));
  // A chat template may write the date: the run keeps the one it began with.
  std::string& date = run->config.prompt.date;
  if (date.empty()) date = jinja::to_string(jinja::current_date());
  if (run->leads()) refuse_old_run(folder, "train");
  if (team != nullptr) date = team->from_first("the date of the run", date);
  run->before_ = stages_of(config.model);
  run->check_zero();
  run->open(config.model, config.model, {}, base);
  run->check_same_ranks();
  if (run->leads()) run->history.begin(run->config, run->fingerprint());
  return run;
}

std::unique_ptr<TrainingRun> TrainingRun::replay(const fs::path& other, const fs::path& folder) {
  RunConfig config = recorded_config(other, {});
  if (config.async.max_staleness == 0) {
    fail_usage(other.string() + " has async.max_staleness = 0: its config alone makes it again",
               "zeroth train " + (other / "config.json").string() + " --out " + folder.string());
  }
  RunHistory before(other);
  before.read();
  before.refuse_changes();
  config.fleet = {};
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, nullptr));
  refuse_old_run(folder, "train");
  run->before_ = stages_of(config.model);
  run->open(config.model, config.model, other);
  const Json inputs = run->fingerprint();
  before.refuse_other_inputs(inputs);
  const auto checkpoint = newest_checkpoint(other);
  if (checkpoint && checkpoint->step > run->end_step) {
    fail((other / kJournalFile).string() + " has " + std::to_string(run->end_step) +
             " steps, but there is a checkpoint of step " + std::to_string(checkpoint->step),
         "bring back the whole file");
  }
  run->history.begin(run->config, inputs, other);
  return run;
}

// ---- resuming

std::unique_ptr<TrainingRun> TrainingRun::resume(const fs::path& folder, const RunConfig& config,
                                                 const ResumeOptions& options, Team* team,
                                                 const Policy* base) {
  std::unique_ptr<TrainingRun> run(new TrainingRun(folder, config, team));
  const auto checkpoint = checkpoint_to_resume(folder, "train");
  if (team != nullptr) check_same_checkpoint(*team, folder, checkpoint);
  const Json recorded = run->check_recorded(options);
  if (checkpoint && config.steps < checkpoint->step) {
    fail_usage(folder.string() + " has made " + std::to_string(checkpoint->step) +
                   " steps; steps = " + std::to_string(config.steps) + " is less",
               "give a larger number, or start a new run from an earlier checkpoint");
  }
  if (checkpoint && fs::exists(checkpoint->folder / pending_file(run->config.async)) &&
      run->config.async.max_staleness > 0)
    ElasticPipeline::check_journal(folder / kJournalFile, checkpoint->step);
  run->history.read();
  const fs::path model = checkpoint ? checkpoint->folder : fs::path(config.model);
  run->before_ = checkpoint ? stages_before(checkpoint->folder) : stages_of(config.model);
  run->check_zero();
  const bool new_reference = checkpoint && changes_reference(*checkpoint, config, options);
  run->open(model, new_reference ? fs::path(config.model) : model, {}, base);
  // A change of the task's options is asked for, and may well name other files.
  run->history.check_inputs(run->fingerprint(),
                            options.accept_changed_data || changes_part(options, "task"),
                            run->leads());
  if (checkpoint) run->restore(*checkpoint, options);
  run->check_same_ranks();
  if (!run->leads()) return run;
  RunParts& parts = *run->parts;
  parts.recorder->truncate_to(run->first_step - 1, set_aside_folder(folder));
  // What was recorded of steps behind the checkpoint is of a run that is no more.
  if (parts.elastic != nullptr && (!options.changed.empty() || run->history.inputs_changed()))
    parts.elastic->forget_recorded(set_aside_folder(folder));
  run->history.resume(recorded, run->config, run->first_step);
  return run;
}

Json TrainingRun::check_recorded(const ResumeOptions& options) {
  if (!holds_run(folder)) return nullptr;
  // Read as a config, so that fields that are newer than the run have their defaults.
  RunConfig before = read_run_config(folder / "config.json", {});
  Json recorded = dump_config(before);
  if (config.prompt.date.empty()) config.prompt.date = before.prompt.date;
  refuse_other_run(folder, recorded, dump_config(config), free_fields(), options.changed);
  return recorded;
}

void TrainingRun::restore(const TrainingCheckpoint& checkpoint, const ResumeOptions& options) {
  const bool new_reference = changes_reference(checkpoint, config, options);
  restore_trainer(checkpoint, *parts->policy, parts->trainer->optimizer(),
                  new_reference ? nullptr : parts->trainer->reference(), team,
                  parts->trainer->low_rank());
  if (new_reference && config.lora.on()) {
    Policy& reference = *parts->trainer->reference();
    if (reference.base() != parts->policy->base()) reference.base()->fill(*parts->policy->base());
    reference.take_exact(*open_model(config.model).source);
    reference.publish(checkpoint.optimizer_steps);
  }
  parts->sampler->publish(nullptr);  // of the model as it was loaded
  parts->sampler->publish(parts->policy->publish(checkpoint.optimizer_steps));
  first_step = checkpoint.step;
  saved_step = checkpoint.step;
  if (leads()) say_passed_over(checkpoint);
  if (leads()) mend_latest(folder, checkpoint.step);
  try {
    restore_state(checkpoint, options);
  } catch (const nlohmann::json::exception& error) {
    fail(checkpoint.folder.string() + "/trainer_state.json: " + error.what(),
         "resume with the build that wrote the run");
  }
}

void TrainingRun::restore_state(const TrainingCheckpoint& checkpoint,
                                const ResumeOptions& options) {
  const Json& state = checkpoint.state;
  counters.draws = state.at("draws").get<int64_t>();
  restore_pending(checkpoint);
  const fs::path kept = checkpoint.folder / kReplayFile;
  if (config.replay.share > 0 && fs::exists(kept))
    earlier.restore(read_file(kept, UINT64_MAX), kept.string());
  counters.num_tokens = state.at("num_tokens").get<int64_t>();
  counters.max_logp_difference = state.at("max_logp_difference").get<double>();
  alarms.restore(state.at("alarms"));
  best.restore(state.value("best", Json()));
  if (config.loss.entropy_target > 0)
    parts->trainer->set_entropy_coef(state.value("entropy_coef", config.loss.entropy_coef));
  if (!changes_part(options, "task"))
    parts->rollouts->restore_lengths(state.value("lengths", Json()));
  if (!changes_part(options, "curriculum") && !changes_part(options, "task")) {
    parts->rollouts->restore_curriculum(state.value("curriculum", Json()));
  } else if (config.curriculum.mode != "uniform" && leads()) {
    std::fprintf(stderr, "the curriculum starts anew: what it had learnt was of other problems\n");
  }
}

void TrainingRun::restore_pending(const TrainingCheckpoint& checkpoint) {
  const fs::path file = checkpoint.folder / pending_file(config.async);
  const std::string pending =
      parts->pipeline->lagged() && fs::exists(file) ? read_file(file, UINT64_MAX) : std::string();
  parts->pipeline->restore(checkpoint.step, counters.draws, pending, file.string());
  const fs::path aside = checkpoint.folder / kAsideFile;
  if (parts->rollouts->sets_aside() && fs::exists(aside))
    parts->rollouts->restore_aside(
        unpack_open_groups(read_file(aside, UINT64_MAX), aside.string()));
}

// ---- what the loop asks of it

std::string TrainingRun::prompt_report() const {
  const PromptEncoder prompts(*parts->tokenizer, config.prompt.bos);
  const Problem problem = parts->task->problem(Split::kTrain, 0);
  return prompts.report("prompt of problem 0", encode_prompt(prompts, *parts->task, problem));
}

void TrainingRun::save(int64_t step) {
  if (step == saved_step) return;
  if (watch) watch->check();
  parts->recorder->sync();
  RolloutPipeline& pipeline = *parts->pipeline;
  pipeline.drain();
  Json state = {{"draws", pipeline.draws()},
                {"num_tokens", counters.num_tokens},
                {"max_logp_difference", counters.max_logp_difference},
                {"alarms", alarms.state()},
                {"curriculum", parts->rollouts->curriculum_state()},
                {"lengths", parts->rollouts->lengths_state()}};
  if (best.step() >= 0) state["best"] = best.state();
  if (config.loss.entropy_target > 0) state["entropy_coef"] = parts->trainer->entropy_coef();
  std::map<std::string, std::string> more;
  more[kProvenanceFile] =
      provenance_text(before_, new_stage("train", step, dump_config(config), free_fields()));
  if (config.replay.share > 0) more[kReplayFile] = earlier.state();
  if (pipeline.lagged()) more[pending_file(config.async)] = pipeline.pending();
  if (parts->rollouts->sets_aside()) more[kAsideFile] = pack_open_groups(parts->rollouts->aside());
  save_checkpoint(folder, step,
                  {*parts->policy, parts->tokenizer_files, parts->trainer->optimizer(),
                   parts->trainer->reference(), state, std::move(more), team,
                   parts->trainer->low_rank(), config.model},
                  {config.keep_last, config.keep_every, best.step()});
  if (watch) watch->check();
  saved_step = step;
  if (leads()) fs::remove_all(set_aside_folder(folder));
}

void TrainingRun::consider_best(int64_t step, const Json& row, bool expected, bool can_save) {
  std::optional<double> value = best.find(row, expected);
  if (!value) return;
  // A metric that is a time is another one on every rank.
  if (team != nullptr)
    value = std::strtod(team->from_first("keep_best", Json(*value).dump()).c_str(), nullptr);
  if (!best.improved_by(*value) || (step != saved_step && !can_save)) return;
  best.take(step, *value);
  save(step);
  if (leads()) point_best(folder, step);
}

}  // namespace zeroth
