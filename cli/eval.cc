// `zeroth eval`: accuracy of a checkpoint on held-out problems.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/task_notes.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "policy/publish_config.h"
#include "policy/weights.h"
#include "rl/chat.h"
#include "rl/evaluate.h"
#include "rollout/local_sampler.h"
#include "tasks/task_spec.h"
#include "text/tokenizer.h"

namespace zeroth {
namespace {

struct EvalCommand {
  std::string model;
  std::string task = "countdown";
  int64_t n = 512;
  int samples = 1;
  uint64_t seed = 0;
  std::string split = "held_out";
  std::string save;
  SamplingConfig sampling;
  PromptConfig prompt;
  OverlongConfig overlong;
  ShapingConfig shaping;
  PublishConfig publish;
  int batch = 256;
  int cache_mb = 1024;
  int draft_tokens = EngineConfig().draft_tokens;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint");
    v("task", task, "NAME or NAME:key=value,..; see zeroth task list");
    v("n", n, "problems", Range{1, 1e9});
    v("samples", samples, "completions of each problem (K)", Range{1, 65536});
    v("seed", seed, "names the random draws");
    v("split", split, "problems to use", Choice{{"held_out", "train"}});
    v("save", save, "write every completion with its verdicts to this JSONL file");
    sampling.fields(v);
    prompt.fields(v);
    v("overlong", overlong, "part of the reward, as in a run's config");
    v("shaping", shaping, "parts of the reward, as in a run's config");
    publish.fields(v);
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
    v("json", json, "print one JSON object");
  }
};

Json row_of(const Group& group, const Sample& sample) {
  Json verdicts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    verdicts.push_back({{"name", verdict.name},
                        {"score", verdict.score},
                        {"reason", to_string(verdict.reason)},
                        {"extracted", verdict.extracted},
                        {"info", verdict.info}});
  }
  return {{"problem", group.problem.id},    {"prompt", group.problem.prompt},
          {"sample", sample.key.sample},    {"text", sample.text},
          {"tokens", sample.tokens.size()}, {"finish", to_string(sample.finish)},
          {"reward", sample.reward},        {"verdicts", verdicts}};
}

}  // namespace

int run_eval(const Args& args) {
  EvalCommand command;
  if (asks_for_help(args))
    return print_usage("zeroth eval --model DIR --task NAME[:k=v,..] [options]", command);
  const Args rest = parse_flags(command, args, "eval");
  if (!rest.empty())
    fail_usage("zeroth eval: unexpected argument \"" + rest[0] + "\"", "see zeroth eval --help");
  if (command.model.empty()) fail_usage("zeroth eval: no model", "give --model DIR");
  const std::atomic<bool>& stop = stop_on_interrupt();
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(command.model);
  const TaskSpec spec = parse_task_spec(command.task);
  const std::unique_ptr<Task> task =
      make_task(spec.name, with_chat_template(spec.options, *tokenizer, command.prompt.date));
  print_task_notes(*task);
  const WeightsPtr weights = load_weights(command.model, command.publish.element());
  print_notes(weights->config().notes);
  EngineConfig engine_config;
  engine_config.max_batch = command.batch;
  engine_config.cache_mb = command.cache_mb;
  engine_config.draft_tokens = command.draft_tokens;
  LocalSampler sampler(weights, tokenizer.get(), engine_config);

  EvalOptions options;
  options.n = command.n;
  options.samples = command.samples;
  options.sampling = command.sampling;
  command.shaping.check();
  options.rubric = {command.overlong, command.shaping, command.sampling.max_tokens};
  options.seed = command.seed;
  options.bos = command.prompt.bos;
  options.split = command.split == "train" ? Split::kTrain : Split::kHeldOut;
  options.stop = &stop;
  const PromptEncoder prompts(*tokenizer, options.bos);
  const PromptScreen screen(*task, prompts, weights->config().max_position,
                            command.sampling.max_tokens, {}, options.split);
  for (const std::string& line : screen.lines()) std::fprintf(stderr, "%s\n", line.c_str());
  options.screen = &screen;
  std::unique_ptr<FileWriter> file;
  if (!command.save.empty()) {
    file = std::make_unique<FileWriter>(command.save);
    options.on_group = [&](const Group& group) {
      for (const Sample& sample : group.samples) {
        // A completion may hold bytes that are no UTF-8: they become U+FFFD.
        file->write(row_of(group, sample).dump(-1, ' ', false, Json::error_handler_t::replace) +
                    "\n");
      }
    };
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    options.on_progress = [](int64_t done, int64_t total) {
      if (done % 16 == 0 || done == total) {
        std::fprintf(stderr, "\r%lld of %lld samples%s", static_cast<long long>(done),
                     static_cast<long long>(total), done == total ? "\n" : "");
      }
    };
  }
  const int64_t available = task->size(options.split);
  if (options.n > available) {
    std::fprintf(stderr, "the split has %lld problems, all of them are used\n",
                 static_cast<long long>(available));
  }
  if (available > 0) {
    const Problem first = task->problem(options.split, 0);
    const auto ids = encode_prompt(prompts, *task, first);
    std::fputs(prompts.report("prompt of problem 0", ids).c_str(), stderr);
  }
  Background background;
  options.background = &background;
  EvalReport report;
  try {
    report = evaluate(sampler, *tokenizer, *task, options);
  } catch (const Interrupted& stopped) {
    if (file) file->close();
    end_interrupted(std::string("zeroth: ") + stopped.what());
  }
  if (file) file->close();
  if (command.json) {
    std::printf("%s\n", report.to_json().dump().c_str());
  } else {
    std::fputs(report.to_text().c_str(), stdout);
  }
  return 0;
}

}  // namespace zeroth
