// `zeroth check ranks`: which engines could carry messages between ranks on this machine.
#include <cstdio>
#include <functional>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/json.h"
#include "core/terminal.h"
#include "ranks/transport.h"

namespace zeroth {
namespace {

struct CheckRanksOptions {
  std::string engine;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("engine", engine, "exit with code 1 unless this one can be had; empty: only look",
      Choice{{"", "gloo", "mpi", "nccl"}});
    v("json", json, "print one JSON object");
  }
};

std::string gloo() {
  if (!has_gloo()) fail("not in this build: libgloo-dev was not there when it was configured");
  return "in this build";
}

std::string nccl() {
  const NcclReport report = nccl_report();
  const std::string found = "NCCL " + report.version + ", which made an id of " +
                            std::to_string(report.id.size()) + " bytes";
  int gpus = 0;
  try {
    gpus = gpu_count();
  } catch (const Error& error) {
    fail(found + "; " + error.what());
  }
  if (gpus == 0) fail(found + "; there is no GPU");
  return found + "; " + std::to_string(gpus) + " GPUs";
}

}  // namespace

int run_check_ranks(const Args& args) {
  CheckRanksOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth check ranks [--engine NAME] [--json]", options);
  const auto rest = parse_flags(options, args, "check ranks");
  if (!rest.empty()) {
    fail_usage("zeroth check ranks: unexpected argument \"" + rest[0] + "\"",
               "see zeroth check ranks --help");
  }
  struct Engine {
    const char* name;
    std::function<std::string()> look;
  };
  const Engine engines[] = {{"gloo", gloo}, {"mpi", mpi_version}, {"nccl", nccl}};
  Json out = Json::object();
  bool good = true;
  for (const Engine& engine : engines) {
    bool usable = true;
    std::string what;
    try {
      what = engine.look();
    } catch (const Error& error) {
      usable = false;
      what = error.what();
    }
    if (engine.name == options.engine) good = usable;
    out[engine.name] = {{"usable", usable}, {"what", what}};
    if (!options.json)
      std::printf("%-5s %-3s  %s\n", engine.name, usable ? "yes" : "no", printable(what).c_str());
  }
  if (options.json) std::printf("%s\n", out.dump().c_str());
  return good ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
