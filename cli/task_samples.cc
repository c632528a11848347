#include "cli/task_samples.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/task_notes.h"
#include "model/formats/gguf_model.h"
#include "policy/adapted.h"
#include "rl/chat.h"
#include "rl/evaluate.h"
#include "rollout/local_sampler.h"
#include "tasks/task_spec.h"

namespace zeroth {

EvalReport sample_task(const TaskSamples& what, const Rubric& rubric,
                       const std::function<void(const Group&)>& on_group) {
  const std::atomic<bool>& stop = stop_on_interrupt();
  const std::string model = find_shipped(what.model);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(model);
  const TaskSpec spec = parse_task_spec(what.task);
  const std::unique_ptr<Task> task =
      make_task(spec.name, with_chat_template(spec.options, *tokenizer, what.prompt.date));
  print_task_notes(*task);
  const WeightsPtr weights =
      load_adapted_weights(model, what.adapter, what.publish.element(), what.device.operators());
  print_notes(weights->config().notes);
  EngineConfig engine_config;
  engine_config.max_batch = what.batch;
  engine_config.cache_mb = what.cache_mb;
  engine_config.draft_tokens = what.draft_tokens;
  LocalSampler sampler(weights, tokenizer.get(), engine_config);

  EvalOptions options;
  options.n = what.n;
  options.samples = what.samples;
  options.sampling = what.sampling;
  options.rubric = rubric;
  options.seed = what.seed;
  options.bos = what.prompt.bos;
  options.split = what.split == "train" ? Split::kTrain : Split::kHeldOut;
  options.stop = &stop;
  options.on_group = on_group;
  const PromptEncoder prompts(*tokenizer, options.bos);
  const PromptScreen screen(*task, prompts, weights->config().max_position,
                            what.sampling.max_tokens, {}, options.split);
  for (const std::string& line : screen.lines()) std::fprintf(stderr, "%s\n", line.c_str());
  options.screen = &screen;
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
  return evaluate(sampler, *tokenizer, *task, options);
}

}  // namespace zeroth
