// Sampling a task's problems from a checkpoint: what `zeroth eval` and `zeroth reject` share.
#pragma once

#include <functional>
#include <string>

#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "rewards/rubric.h"
#include "rollout/engine_config.h"
#include "rollout/sampling_config.h"
#include "tasks/evaluation.h"
#include "text/prompt.h"

namespace zeroth {

struct TaskSamples {
  std::string model;
  std::string adapter;
  std::string task;
  int64_t n = 512;
  int samples = 1;
  uint64_t seed = 0;
  std::string split = "held_out";
  SamplingConfig sampling;
  PromptConfig prompt;
  PublishConfig publish;
  DeviceConfig device;
  int batch = 256;
  int cache_mb = 1024;
  int draft_tokens = EngineConfig().draft_tokens;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint");
    v("adapter", adapter, "folder of a PEFT adapter for the model");
    v("task", task, "NAME or NAME:key=value,..; see zeroth task list");
    v("n", n, "problems", Range{1, 1e9});
    v("samples", samples, "completions of each problem (K)", Range{1, 65536});
    v("seed", seed, "names the random draws");
    v("split", split, "problems to use", Choice{{"held_out", "train"}});
    sampling.fields(v);
    prompt.fields(v);
    publish.fields(v);
    device.fields(v);
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
  }
};

// Calls on_group(group), graded, its rewards by `rubric`, in the order of the problems. Says on stderr what the task, the model
// and the prompts leave to the reader, and on a terminal how far it is. Blocks. A signal ends it
// before the next forward call with Interrupted.
EvalReport sample_task(const TaskSamples& what, const Rubric& rubric,
                       const std::function<void(const Group&)>& on_group);

}  // namespace zeroth
