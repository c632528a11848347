// inspect_make_run FOLDER [--steps N --groups N --samples N --tokens N --hostile ..]: see
// made_run.h.
#include <cstdio>

#include "core/config.h"
#include "core/error.h"
#include "tests/inspect/made_run.h"

namespace {

struct Options : zeroth::MadeRun {
  template <class V>
  void fields(V& v) {
    v("steps", steps, "steps to write", zeroth::Range{1, 1e6});
    v("first_step", first_step, "number of the first step", zeroth::Range{0, 1e6});
    v("groups", groups, "groups a step", zeroth::Range{1, 1e4});
    v("samples", samples, "samples a group", zeroth::Range{1, 1e4});
    v("seed", seed, "seed");
    v("probe_every", probe_every, "probe groups every n steps; 0 = never", zeroth::Range{0, 1e6});
    v("experts", experts, "record routed experts");
    v("hostile", hostile, "one hostile trace a step");
    v("failing", failing, "one sample in four cannot be graded; an alarm at the end");
    v("eval_every", eval_every, "held-out figures every n steps; 0 = never", zeroth::Range{0, 1e6});
    v("planned", planned, "steps that the config asks for; 0 = those that are made",
      zeroth::Range{0, 1e6});
    v("tokens", tokens, "least length of completions, filled up with failed tries and prose",
      zeroth::Range{0, 1e5});
    v("scan", scan, "record the scanners' metrics too");
  }
};

}  // namespace

int main(int argc, char** argv) {
  try {
    Options options;
    const auto rest = zeroth::parse_flags(options, {argv + 1, argv + argc}, "inspect_make_run");
    if (rest.size() != 1) {
      std::fprintf(stderr, "usage: inspect_make_run FOLDER [options]\n%s",
                   zeroth::config_help(options).c_str());
      return 2;
    }
    zeroth::make_run(rest[0], options);
  } catch (const zeroth::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
