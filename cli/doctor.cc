// `zeroth doctor`: what a config would do, before its first step.
#include "rl/doctor.h"

#include <cstdio>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/error.h"

namespace zeroth {
namespace {

struct DoctorOptions {
  std::vector<std::string> set;
  int groups = 8;
  double whole_step = 30;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("set", set, "override a field of the config, a.b=value; may be repeated", Repeated{});
    v("groups", groups, "problems that are sampled, at most one step's", Range{1, 65536});
    v("whole_step", whole_step,
      "sample a whole step when that will take at most so many seconds; else time and memory are "
      "scaled up",
      Range{0, 1e6});
    v("json", json, "print one JSON object");
  }
};

}  // namespace

int run_doctor(const Args& args) {
  DoctorOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth doctor CONFIG.json [--set a.b=v].. [--json]", options);
  const Args files = parse_flags(options, args, "doctor");
  if (files.size() != 1) {
    fail_usage("zeroth doctor takes one config, got " + std::to_string(files.size()),
               "zeroth doctor CONFIG.json, as for zeroth train");
  }
  const std::atomic<bool>& stop = stop_on_interrupt();
  RunConfig config = read_run_config(find_shipped(files[0]), options.set);
  config.model = find_shipped(config.model);
  const Diagnosis diagnosis = diagnose(config, options.groups, options.whole_step, &stop,
                                       [] { end_interrupted("zeroth: interrupted"); });
  if (options.json) {
    // Prompts may hold bytes that are no UTF-8: they become U+FFFD.
    std::printf("%s\n",
                diagnosis.to_json().dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::fputs(diagnosis.to_text().c_str(), stdout);
  }
  return 0;
}

}  // namespace zeroth
