// Held-out evaluation and probe problems during a run.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"

namespace zeroth {

struct EvaluationConfig {
  int64_t every = 0;
  int problems = 128;
  int samples = 1;
  double temperature = 1;
  int max_tokens = 0;
  bool own_task = true;
  Json sets = Json::array();
  int record = 1024;
  template <class V>
  void fields(V& v) {
    v("every", every, "steps between evaluations, step 0 and the end included; 0 = never",
      Range{0, 1e9});
    v("problems", problems, "held-out problems", Range{1, 1e7});
    v("samples", samples, "completions of each", Range{1, 65536});
    v("temperature", temperature, "of sampling; 0 = greedy", Range{0, 100});
    v("max_tokens", max_tokens, "longest completion in tokens; 0 = as sampling.max_tokens",
      Range{0, 1 << 20});
    v("own_task", own_task, "evaluate on the run's own task (metrics eval/..)");
    v("sets", sets,
      "further sets, metrics eval/NAME/..: [{\"name\": N, \"task\": {\"name\": T, \"options\": "
      "{..}}, "
      "\"split\": \"held_out\" or \"train\", \"problems\", \"samples\", \"temperature\", "
      "\"max_tokens\"}, ..]; what a set leaves out is as above");
    v("record", record, "groups of each evaluation of each set that go to the traces, source eval",
      Range{0, 1e7});
  }
};

// The same few held-out problems, sampled again and again with the same draws: what differs from
// step to step is the policy. Their samples go to the traces (source "probe"), never into training.
struct ProbeConfig {
  int64_t every = 0;
  int problems = 4;
  int samples = 4;
  template <class V>
  void fields(V& v) {
    v("every", every,
      "steps between samplings of the probe problems, step 0 and the last included; 0 = never",
      Range{0, 1e9});
    v("problems", problems, "the first so many held-out problems", Range{1, 1e6});
    v("samples", samples, "completions of each", Range{1, 65536});
  }
};

}  // namespace zeroth
