#include "stages/stage_run.h"

#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "core/stopwatch.h"
#include "record/progress.h"
#include "record/run_recorder.h"
#include "rl/run_folder.h"
#include "rl/run_origin.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

RunRecorder make_recorder(const fs::path& folder, int64_t steps) {
  RecorderOptions options;
  options.record.traces = false;
  options.record.scan = false;
  options.record.progress = false;  // its fields are those of reinforcement learning
  options.total_steps = steps;
  return RunRecorder(folder, std::move(options));
}

void print_progress(int64_t step, int64_t steps, const Json& row, double seconds_per_step) {
  const auto held_out = row.find("eval/loss");
  std::string more;
  if (held_out != row.end()) {
    char text[48];
    std::snprintf(text, sizeof text, "  held out %.4f", held_out->get<double>());
    more = text;
  }
  std::fprintf(
      stderr,
      "step %lld/%lld  loss %.4f%s  grad %.3f  lr %.2e  %.1fM tokens  %.0f ms/step  eta %s\n",
      static_cast<long long>(step), static_cast<long long>(steps), row.at("loss").get<double>(),
      more.c_str(), row.at("grad_norm").get<double>(), row.at("learning_rate").get<double>(),
      row.at("num_tokens").get<double>() / 1e6, seconds_per_step * 1e3,
      short_duration(seconds_per_step * static_cast<double>(steps - step)).c_str());
}

// The loop over updates of a stage whose folder is prepared.
class Updates {
 public:
  Updates(const StageRun& run, Stage& stage, int64_t step)
      : run_(run),
        stage_(stage),
        recorder_(make_recorder(run.folder, stage.steps())),
        step_(step),
        saved_(step) {
    recorder_.truncate_to(step - 1, set_aside_folder(run.folder));
  }

  void save() {
    recorder_.sync();
    save_checkpoint(run_.folder, step_, stage_.checkpoint(step_),
                    {run_.saving.keep_last, run_.saving.keep_every, -1});
    saved_ = step_;
    fs::remove_all(set_aside_folder(run_.folder));
  }

  StageSummary run(const std::atomic<bool>* stop,
                   const std::function<void(int64_t, int64_t)>& progress) {
    StageSummary summary;
    const int64_t first = step_;
    const double start = steady_now();
    while (step_ < stage_.steps() && !summary.interrupted) {
      const double step_start = steady_now();
      Json row = stage_.update(step_);
      row["step_time"] = steady_now() - step_start;
      recorder_.record(step_, row, {});
      ++step_;
      if (progress) progress(step_, saved_);
      const bool last = step_ == stage_.steps();
      const int64_t print = run_.saving.print_every;
      if (print > 0 && (last || step_ % print == 0)) {
        print_progress(step_, stage_.steps(), row,
                       (steady_now() - start) / static_cast<double>(step_ - first));
      }
      summary.loss = row.at("loss").get<double>();
      summary.interrupted = stop != nullptr && *stop && !last;
      if (last || summary.interrupted || step_ % run_.saving.checkpoint_every == 0) save();
    }
    summary.steps = step_;
    summary.num_tokens = stage_.num_tokens();
    return summary;
  }

 private:
  const StageRun& run_;
  Stage& stage_;
  RunRecorder recorder_;
  int64_t step_, saved_;
};

}  // namespace

void check_vocabulary(const Tokenizer& tokenizer, const PolicyConfig& config) {
  const int tokens = tokenizer.vocab_size() - tokenizer.special().named_only;
  if (tokens <= config.vocab_size) return;
  fail("the tokenizer has " + std::to_string(tokens) + " tokens, the model's vocab_size is " +
           std::to_string(config.vocab_size),
       "raise vocab_size in the model's config.json");
}

void check_gradient(double norm, int64_t step) {
  if (std::isfinite(norm)) return;
  fail("alarm gradient_nan stopped the run: the gradient norm at step " + std::to_string(step) +
           " is " + std::to_string(norm) +
           "; the update was not made and the last checkpoint is kept",
       "lower optimizer.lr or optimizer.max_grad_norm and resume");
}

StageSummary run_stage(const StageRun& run, const MakeStage& make, const std::atomic<bool>* stop,
                       const std::function<void(int64_t, int64_t)>& progress) {
  const double begin = steady_now();
  const fs::path& folder = run.folder;
  const FolderLock lock(make_run_folder(folder));
  if (!run.resume) refuse_old_run(folder, run.command);
  if (run.resume && holds_run(folder)) {
    refuse_other_stage(folder, run.recorded_config(), run.config, run.free);
  }
  const auto checkpoint = run.resume ? checkpoint_to_resume(folder, run.command) : std::nullopt;
  const std::unique_ptr<Stage> stage = make(checkpoint);
  std::fputs(stage->report().c_str(), stderr);
  write_run_config(folder, run.config);
  const int64_t step = checkpoint ? checkpoint->step : 0;
  Updates updates(run, *stage, step);
  if (checkpoint) {
    mend_latest(folder, step);
    say_passed_over(*checkpoint);
  } else {
    updates.save();  // so that steps without any checkpoint mean that it was lost
  }
  std::fprintf(stderr, "run %s: step %lld of %lld\n", folder.c_str(), static_cast<long long>(step),
               static_cast<long long>(stage->steps()));
  StageSummary summary = updates.run(stop, progress);
  summary.seconds = steady_now() - begin;
  return summary;
}

}  // namespace zeroth
