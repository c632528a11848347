// `zeroth reject`: rejection sampling from a run's traces or by sampling anew.
#include "stages/reject.h"

#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/task_notes.h"
#include "cli/usage.h"
#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "policy/publish_config.h"
#include "policy/weights.h"
#include "record/trace_store.h"
#include "rl/chat.h"
#include "rl/evaluate.h"
#include "rollout/local_sampler.h"
#include "tasks/task_spec.h"

namespace zeroth {
namespace {

struct RejectOptions {
  std::string out;
  RejectConfig reject;
  int64_t from = 0, to = INT64_MAX / 2;
  bool probes = false;
  std::string model;
  std::string task;
  int64_t n = 512;
  int samples = 8;
  uint64_t seed = 0;
  std::string split = "train";
  SamplingConfig sampling;
  PromptConfig prompt;
  PublishConfig publish;
  int batch = 256;
  int cache_mb = 1024;
  template <class V>
  void fields(V& v) {
    v("out", out, "JSON Lines file to write");
    reject.fields(v);
    v("from", from, "of a run: first step", Range{0, 1e15});
    v("to", to, "of a run: last step");
    v("probes", probes, "of a run: take the samples of probes and evaluations too");
    v("model", model, "sample anew from this checkpoint, in place of a run");
    v("task", task, "sampling anew: NAME or NAME:key=value,..");
    v("n", n, "sampling anew: problems", Range{1, 1e9});
    v("samples", samples, "sampling anew: completions of each", Range{1, 65536});
    v("seed", seed, "sampling anew: names the random draws");
    v("split", split, "sampling anew: problems to use", Choice{{"held_out", "train"}});
    sampling.fields(v);
    prompt.fields(v);
    publish.fields(v);
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
  }
};

// The samples of a run's steps.
void collect(const std::string& run, const RejectOptions& options, Rejection& rejection) {
  TraceReader reader(std::filesystem::path(run) / "traces");
  reader.refresh(true);
  for (const TraceDamage& damage : reader.damage()) {
    std::fprintf(stderr, "%s: damaged at byte %llu: %s; the rest is read\n", run.c_str(),
                 static_cast<unsigned long long>(damage.offset), damage.what.c_str());
  }
  for (const TraceEntry& entry : reader.groups()) {
    const auto step = static_cast<int64_t>(entry.step);
    const bool aside = entry.source == GroupSource::kProbe || entry.source == GroupSource::kEval;
    if (step < options.from || step > options.to || (aside && !options.probes)) continue;
    rejection.add(reader.read(entry));
  }
}

// Samples of a checkpoint.
void sample_anew(const RejectOptions& options, Rejection& rejection) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(options.model);
  const TaskSpec spec = parse_task_spec(options.task);
  const std::unique_ptr<Task> task =
      make_task(spec.name, with_chat_template(spec.options, *tokenizer, options.prompt.date));
  print_task_notes(*task);
  const WeightsPtr weights = load_weights(options.model, options.publish.element());
  print_notes(weights->config().notes);
  EngineConfig engine;
  engine.max_batch = options.batch;
  engine.cache_mb = options.cache_mb;
  LocalSampler sampler(weights, tokenizer.get(), engine);
  EvalOptions eval;
  eval.n = options.n;
  eval.samples = options.samples;
  eval.sampling = options.sampling;
  eval.rubric = {OverlongConfig{}, ShapingConfig{}, options.sampling.max_tokens};
  eval.seed = options.seed;
  eval.bos = options.prompt.bos;
  eval.split = options.split == "train" ? Split::kTrain : Split::kHeldOut;
  eval.stop = &stop_on_interrupt();
  const PromptEncoder prompts(*tokenizer, eval.bos);
  const PromptScreen screen(*task, prompts, weights->config().max_position,
                            options.sampling.max_tokens, {}, eval.split);
  for (const std::string& line : screen.lines()) std::fprintf(stderr, "%s\n", line.c_str());
  eval.screen = &screen;
  eval.on_group = [&](const Group& group) { rejection.add(group); };
  evaluate(sampler, *tokenizer, *task, eval);
}

}  // namespace

int run_reject(const Args& args) {
  constexpr const char* kUsage =
      "zeroth reject RUN --out FILE.jsonl [options]\n"
      "       zeroth reject --model DIR --task NAME[:k=v,..] --out FILE.jsonl [options]";
  RejectOptions options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  const Args runs = parse_flags(options, args, "reject");
  if (runs.size() + !options.model.empty() != 1 || options.out.empty()) {
    fail_usage(options.out.empty() ? "zeroth reject: --out is missing"
                                   : "zeroth reject: give one run, or --model and --task",
               std::string("usage: ") + kUsage);
  }
  if (!options.model.empty() && options.task.empty()) {
    fail_usage("zeroth reject: --model without --task", "name the task that is sampled");
  }
  Rejection rejection(options.reject);
  if (runs.empty()) {
    sample_anew(options, rejection);
  } else {
    collect(runs[0], options, rejection);
  }
  std::string text;
  for (const Json& row : rejection.rows()) text += json_line(row) + "\n";
  const Json summary = rejection.summary();
  if (text.empty()) {
    fail("no row: " + summary.dump(), "take more steps or samples, or loosen the filters");
  }
  write_file_atomic(options.out, text);
  print_json(summary);
  return 0;
}

}  // namespace zeroth
