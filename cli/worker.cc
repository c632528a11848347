// `zeroth worker`: draws samples for a run that is reached by HTTP.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "core/host_name.h"
#include "core/parallel.h"
#include "core/system.h"
#include "policy/device_config.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/worker.h"

namespace zeroth {
namespace {

struct WorkerFlags {
  std::string token_file, ca, name;
  int spawn = 0;
  int threads = 0;
  int batch = 256;
  int cache_mb = 1024;
  int draft_tokens = EngineConfig().draft_tokens;
  DeviceConfig device;
  double retry_s = 600;
  bool stay = false;
  bool quiet = false;
  template <class V>
  void fields(V& v) {
    v("token_file", token_file, "file with the run's token (RUN/fleet/token, unless it names one)");
    v("ca", ca, "PEM file with whom to trust behind https://; default the system's list");
    v("name", name, "unique in the fleet; default HOST-PID");
    v("spawn", spawn, "run so many workers on this machine, each started again when it crashes",
      Range{0, 1024});
    v("threads", threads, "threads of each; default all cores, shared among the spawned",
      Range{0, 256});
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
    device.fields(v);
    v("retry_s", retry_s, "how long the run may be out of reach before this is an error",
      Range{0, 1e9});
    v("stay", stay, "wait for the next run at this address when one ends");
    v("quiet", quiet, "print nothing but errors");
  }
};

std::string default_name() { return host_name() + "-" + std::to_string(::getpid()); }

int work_here(const std::string& url, const WorkerFlags& flags) {
  fleet::WorkerOptions options;
  options.link.url = url;
  options.link.token =
      fleet::TokenList::first_token(read_file(flags.token_file, 1 << 20), flags.token_file);
  options.link.ca_file = flags.ca;
  options.link.retry_s = flags.retry_s;
  options.name = flags.name.empty() ? default_name() : flags.name;
  options.engine.max_batch = flags.batch;
  options.engine.cache_mb = flags.cache_mb;
  options.engine.draft_tokens = flags.draft_tokens;
  options.operators = &flags.device.operators();
  options.stay = flags.stay;
  if (!flags.quiet) {
    options.note = [](const std::string& line) {
      std::fprintf(stderr, "zeroth worker: %s\n", line.c_str());
    };
  }
  if (flags.threads > 0) set_num_threads(flags.threads);
  const std::atomic<bool>& stop = stop_on_interrupt("giving back what is not done, then ending");
  const fleet::WorkerSummary summary = fleet::work(options, stop);
  const Json result = {{"name", options.name},
                       {"leases", summary.leases},
                       {"samples", summary.samples},
                       {"tokens", summary.tokens},
                       {"dropped", summary.dropped},
                       {"draft_tokens", summary.draft_tokens},
                       {"draft_accepted", summary.draft_accepted},
                       {"sessions", summary.sessions},
                       {"sampling_seconds", summary.sampling_s},
                       {"weights",
                        {{"full", summary.weights.full},
                         {"deltas", summary.weights.deltas},
                         {"bytes", summary.weights.bytes},
                         {"seconds", summary.weights.fetch_s}}}};
  std::printf("%s\n", result.dump().c_str());
  return interrupt_exit_code();
}

// Workers as processes of their own: one that crashes takes no other with it.
class Spawned {
 public:
  Spawned(const Args& args, const WorkerFlags& flags) : flags_(flags) {
    for (const std::string& arg : args) args_.push_back(arg);
  }

  int run() {
    const std::atomic<bool>& stop = stop_on_interrupt("ending the workers");
    const std::string base = flags_.name.empty() ? default_name() : flags_.name;
    for (int i = 0; i < flags_.spawn; ++i) start(base + "-" + std::to_string(i));
    int code = 0;
    bool told = false;
    while (!children_.empty()) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid > 0) {
        ended(pid, status, stop, code);
        continue;
      }
      if (stop && !std::exchange(told, true))
        for (const auto& [child, name] : children_) ::kill(child, SIGTERM);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return stop ? interrupt_exit_code() : code;
  }

 private:
  void start(const std::string& name) {
    const int threads = flags_.threads > 0 ? flags_.threads
                                           : std::max(1, num_threads() / std::max(1, flags_.spawn));
    std::vector<std::string> words = {"zeroth", "worker"};
    words.insert(words.end(), args_.begin(), args_.end());
    words.insert(words.end(),
                 {"--spawn", "0", "--name", name, "--threads", std::to_string(threads)});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) fail("cannot start a worker: the system has no more processes", "lower --spawn");
    if (pid == 0) {
      system::run_program_anew(argv.data());
      ::_exit(127);
    }
    children_[pid] = name;
  }

  void ended(pid_t pid, int status, bool stopping, int& code) {
    const auto found = children_.find(pid);
    if (found == children_.end()) return;
    const std::string name = found->second;
    children_.erase(found);
    if (WIFEXITED(status)) {
      code = std::max(code, WEXITSTATUS(status));
      return;
    }
    if (stopping) return;
    std::fprintf(stderr, "zeroth worker: %s died by signal %d; starting it again\n", name.c_str(),
                 WTERMSIG(status));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // never a busy loop of crashes
    start(name);
  }

  const WorkerFlags& flags_;
  std::vector<std::string> args_;
  std::map<pid_t, std::string> children_;
};

}  // namespace

int run_worker(const Args& args) {
  WorkerFlags flags;
  if (asks_for_help(args))
    return print_usage("zeroth worker URL --token-file FILE [options]", flags);
  const Args rest = parse_flags(flags, args, "worker");
  if (rest.size() != 1) {
    fail_usage("zeroth worker needs the address of one run",
               "zeroth worker http://HOST:PORT --token-file FILE");
  }
  if (flags.token_file.empty()) {
    fail_usage("zeroth worker: no --token-file",
               "copy the run's RUN/fleet/token, or name the file of fleet.token_file");
  }
  std::signal(SIGPIPE, SIG_IGN);
  parse_web_url(rest[0]);
  return flags.spawn > 0 ? Spawned(args, flags).run() : work_here(rest[0], flags);
}

}  // namespace zeroth
