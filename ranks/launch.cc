#include "ranks/launch.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "core/error.h"
#include "core/parallel.h"

namespace zeroth {
namespace {

struct Launcher {
  const char *name, *rank, *size, *local_size, *job;
};
constexpr Launcher kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "PMIX_NAMESPACE"},
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_JOB_ID"},
    {"Kubernetes", "JOB_COMPLETION_INDEX", "WORLD_SIZE", nullptr, nullptr},
};

constexpr int kDefaultPort = 29500;

std::string text_of(const Variables& environment, const char* name) {
  const char* value = name == nullptr ? nullptr : environment(name);
  return value == nullptr ? std::string() : value;
}

int number_of(const char* name, const std::string& text, int least, int most) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < least || value > most) {
    fail_usage("the environment has " + std::string(name) + "=" + text.substr(0, 60),
               "it is to be a number from " + std::to_string(least) + " to " +
                   std::to_string(most) + "; unset it to train in one process");
  }
  return value;
}

// "4(x2),3" -> 4: tasks of the first nodes. 0 when it cannot be read.
int first_number(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::clamp(value, 0, kMostRanks);
}

bool belongs(const Launcher& launcher, const Variables& environment) {
  if (text_of(environment, launcher.rank).empty()) return false;
  if (launcher.name == std::string_view("Slurm"))
    return !text_of(environment, "SLURM_STEP_ID").empty();
  // An indexed Job of single runs has no number of ranks.
  return launcher.name != std::string_view("Kubernetes") ||
         !text_of(environment, launcher.size).empty();
}

void find_address(const Variables& environment, Launch& launch) {
  launch.host = text_of(environment, "MASTER_ADDR");
  const bool slurm = launch.launcher == "Slurm";
  if (launch.host.empty() && launch.local_size == launch.size) launch.host = "127.0.0.1";
  if (launch.host.empty() && slurm) {
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
      if (launch.host.empty()) launch.host = first_node(text_of(environment, name));
    }
  }
  if (launch.host.empty()) {
    fail_usage(
        "this is rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) +
            " (" + launch.launcher + "), and the environment has no MASTER_ADDR",
        "set MASTER_ADDR to a name or an address of rank 0's machine, the same for all ranks");
  }
  const std::string port = text_of(environment, "MASTER_PORT");
  const int job = slurm ? std::atoi(launch.job.c_str()) : 0;
  launch.port = static_cast<uint16_t>(port.empty() ? kDefaultPort + std::max(0, job) % 1000
                                                   : number_of("MASTER_PORT", port, 1, 65535));
}

}  // namespace

std::string first_node(const std::string& nodes) {
  const size_t bracket = nodes.find('['), comma = nodes.find(',');
  if (bracket == std::string::npos || comma < bracket) return nodes.substr(0, comma);
  const size_t end = nodes.find_first_of(",-]", bracket);
  if (end == std::string::npos) return {};
  std::string node = nodes.substr(0, bracket) + nodes.substr(bracket + 1, end - bracket - 1);
  // What stands behind the bracket belongs to every name.
  const size_t close = nodes.find(']', bracket);
  if (close == std::string::npos) return {};
  return node + nodes.substr(close + 1, nodes.find(',', close) - close - 1);
}

Launch find_launch(const Variables& environment) {
  Launch launch;
  for (const Launcher& launcher : kLaunchers) {
    if (!belongs(launcher, environment)) continue;
    std::string size = text_of(environment, launcher.size);
    if (size.empty() && launcher.name == std::string_view("Slurm"))
      size = text_of(environment, "SLURM_NTASKS");
    if (size.empty()) {
      fail_usage("the environment has " + std::string(launcher.rank) + " and no " + launcher.size,
                 "set both to train with several ranks, or neither");
    }
    launch.launcher = launcher.name;
    launch.size = number_of(launcher.size, size, 1, kMostRanks);
    launch.rank = number_of(launcher.rank, text_of(environment, launcher.rank), 0, launch.size - 1);
    const std::string local = text_of(environment, launcher.local_size);
    launch.local_size = launcher.local_size == nullptr ? 1 : first_number(local);
    launch.job = text_of(environment, launcher.job);
    if (launch.size > 1) find_address(environment, launch);
    return launch;
  }
  return launch;
}

Launch find_launch() {
  return find_launch([](const char* name) { return std::getenv(name); });
}

void share_cores(const Launch& launch) {
  if (launch.local_size < 2 || std::getenv("ZEROTH_THREADS") != nullptr) return;
  const auto cores = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  if (num_threads() < cores) return;  // bound by the launcher
  set_num_threads(std::max(1, cores / launch.local_size));
}

}  // namespace zeroth
