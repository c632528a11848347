// A coordinator against many workers that compute nothing:
// build/fleet_load [WORKERS [--think S] [--seconds S] [--rounds N] [--beyond N] [--crowd N]].
//
// The workers live in a process of their own, each with one connection that it keeps
// (bench/load_clients.h). Printed: memory a connection; how long a lease takes when all ask at the
// same moment, when all wait and work comes, when they work as workers do (a lease, S seconds of
// thinking on average, a result), and when they do not think at all; with --beyond what N workers
// over the limit hear, with --crowd what becomes of all that when N connections more say nothing.
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <thread>

#include "bench/load_clients.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/stopwatch.h"
#include "core/temporary_folder.h"
#include "policy/policy.h"
#include "rollout/fleet/coordinator.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;
using namespace zeroth::bench;

constexpr char kToken[] = "a-token-of-a-load-test";
constexpr int kSamples = 8, kTokens = 32;

struct Options {
  int workers = 1000, rounds = 10, beyond = 0, crowd = 0;
  double think = 1, seconds = 5;
};

double resident_kb() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  file >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e3;
}

// As many files as the system lets this process have.
void raise_open_files(size_t wanted) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlimit more{std::max<rlim_t>(limit.rlim_cur, wanted), std::max<rlim_t>(limit.rlim_max, wanted)};
  if (::setrlimit(RLIMIT_NOFILE, &more) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// What the processes tell each other.
struct Shared {
  std::atomic<double> work_came{0};
};

class Pipe {
 public:
  explicit Pipe(int fd) : fd_(fd) {}
  void say(char what) const {
    if (::write(fd_, &what, 1) != 1) fail("fleet_load: the other process is gone");
  }
  char hear() const {
    char what = 0;
    if (::read(fd_, &what, 1) != 1) fail("fleet_load: the other process is gone");
    return what;
  }
  bool heard(int millis) const {
    pollfd one{fd_, POLLIN, 0};
    return ::poll(&one, 1, millis) > 0;
  }

 private:
  int fd_;
};

void print(const char* what, Latencies all) {
  std::printf("%s: median %.2f ms, p99 %.2f ms, most %.2f ms of %zu\n", what, 1e3 * all.at(0.5),
              1e3 * all.at(0.99), 1e3 * all.at(1), all.seconds.size());
  std::fflush(stdout);
}

// The workers' process: does what it is told and says when it is done.
int run_clients(const Options& options, const Pipe& pipe, const Shared& shared) {
  uint16_t port = static_cast<unsigned char>(pipe.hear());
  port = static_cast<uint16_t>(port << 8 | static_cast<unsigned char>(pipe.hear()));
  LoadClients clients(port, kToken);
  Latencies storms, waits;
  for (;;) {
    const char order = pipe.hear();
    if (order == 'j') {
      const double start = steady_now();
      const auto statuses = clients.join(options.workers);
      if (!statuses.contains(200) || statuses.at(200) != options.workers) return 1;
      std::printf("%d workers joined in %.2f s\n", options.workers, steady_now() - start);
    } else if (order == 's') {
      for (const double s : clients.storm().seconds) storms.seconds.push_back(s);
    } else if (order == 'p') {
      const auto ready = [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        pipe.say('p');
        while (shared.work_came == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
        return shared.work_came.load();
      };
      for (const double s : clients.wait_for_work(ready).seconds) waits.seconds.push_back(s);
    } else if (order == 'w' || order == 'f') {
      const double think = order == 'w' ? options.think : 0;
      LoadClients::Work work = clients.work(think, options.seconds);
      const double rate = static_cast<double>(work.result.seconds.size()) / options.seconds;
      std::printf("%.1f s of thought between a lease and its result: %.0f groups/s, %lld refused\n",
                  think, rate, static_cast<long long>(work.refused));
      print("  lease", work.lease);
      print("  result", work.result);
    } else if (order == 'r') {
      print("a lease when all ask at the same moment", storms);
      print("a lease when all wait and work comes", waits);
      storms = waits = {};
    } else if (order == 'x') {
      for (const auto& [status, count] : clients.join(options.beyond))
        std::printf("%d of %d workers over the limit heard %d\n", count, options.beyond, status);
      clients.crowd(options.crowd);
    } else {
      const int finished = clients.finish();
      std::printf("%d of %d workers heard the end\n", finished, options.workers);
      std::fflush(stdout);
      return finished == options.workers ? 0 : 1;
    }
    std::fflush(stdout);
    pipe.say('d');
  }
}

std::unique_ptr<Policy> tiny() {
  return Policy::init(
      PolicyConfig::from_json(
          parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true})",
                     "load"),
          "load"),
      1);
}

// The trainer's side.
class Load {
 public:
  Load(const Options& options, Coordinator& coordinator, const Pipe& pipe, Shared& shared,
       std::string weights)
      : options_(options),
        coordinator_(coordinator),
        pipe_(pipe),
        shared_(shared),
        weights_(std::move(weights)) {}

  void order(char what) const {
    pipe_.say(what);
    if (pipe_.hear() != 'd') fail("fleet_load: the clients lost their way");
  }
  void add(int pieces) {
    std::vector<GenerationRequest> requests(pieces);
    for (int i = 0; i < pieces; ++i) {
      requests[i].prompt.assign(20, 3);
      requests[i].step = step_;
      requests[i].problem = static_cast<uint32_t>(i);
      requests[i].samples = kSamples;
      requests[i].sampling.max_tokens = kTokens;
    }
    ++step_;
    std::vector<int> numbers(requests.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    coordinator_.begin();
    coordinator_.add(numbers, requests, weights_);
  }
  // As often as --rounds says: all ask while work waits; all wait and work comes.
  void rounds() {
    for (int i = 0; i < options_.rounds; ++i) {
      add(options_.workers);
      order('s');
      coordinator_.end();
      shared_.work_came = 0;
      pipe_.say('p');
      pipe_.hear();
      shared_.work_came = steady_now();
      add(options_.workers);
      pipe_.hear();
      coordinator_.end();
    }
    order('r');
  }
  void work(char how, double think) {
    // More than they will do.
    const double each = think > 0 ? options_.seconds / think + 4 : 40 * options_.seconds;
    add(static_cast<int>(options_.workers * each));
    pipe_.say(how);
    while (!pipe_.heard(0)) {
      for (int i = 0; i < 100 && coordinator_.next(0.01); ++i) continue;
    }
    pipe_.hear();
    coordinator_.end();
  }

 private:
  const Options& options_;
  Coordinator& coordinator_;
  const Pipe& pipe_;
  Shared& shared_;
  std::string weights_;
  uint32_t step_ = 0;
};

int run_server(const Options& options, const Pipe& pipe, Shared& shared) {
  const TemporaryFolder folder("fleet-load");
  write_file_atomic(folder.path() / "token", std::string(kToken) + "\n");
  const auto policy = tiny();
  FleetConfig config;
  config.listen = "127.0.0.1:0";
  config.token_file = (folder.path() / "token").string();
  config.max_workers = options.workers;
  FleetSetup setup;
  setup.model = policy->config();
  Coordinator coordinator(config, setup);
  const std::string weights = coordinator.publish(*policy->weights());
  const uint16_t port = coordinator.port();
  pipe.say(static_cast<char>(port >> 8));
  pipe.say(static_cast<char>(port & 255));
  Load load(options, coordinator, pipe, shared, weights);
  const double before = resident_kb();
  load.order('j');
  std::printf("%d connections: %.1f KB each\n", options.workers,
              (resident_kb() - before) / options.workers);
  std::fflush(stdout);
  load.rounds();
  load.work('w', options.think);
  load.work('f', 0);
  if (options.beyond > 0 || options.crowd > 0) {
    load.order('x');
    load.rounds();
  }
  pipe.say('q');
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  coordinator.finish();
  const Json status = coordinator.status();
  std::printf("%.0f MB; %s, refused hellos %s\n", resident_kb() / 1e3,
              status["http"].dump().c_str(), status["counts"]["too_many"].dump().c_str());
  return 0;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (i == 1 && word[0] != '-') {
      options.workers = std::atoi(argv[i]);
      continue;
    }
    if (i + 1 == argc) return false;
    const double value = std::atof(argv[++i]);
    if (word == "--think") {
      options.think = value;
    } else if (word == "--seconds") {
      options.seconds = value;
    } else if (word == "--rounds") {
      options.rounds = static_cast<int>(value);
    } else if (word == "--beyond") {
      options.beyond = static_cast<int>(value);
    } else if (word == "--crowd") {
      options.crowd = static_cast<int>(value);
    } else {
      return false;
    }
  }
  return options.workers > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: fleet_load [WORKERS] [--think S] [--seconds S] [--rounds N] [--beyond N] "
                 "[--crowd N]\n");
    return 2;
  }
  raise_open_files(static_cast<size_t>(options.workers + options.beyond + options.crowd) + 1000);
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ends[2];
  if (memory == MAP_FAILED || ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
  auto& shared = *new (memory) Shared;
  const pid_t child = ::fork();  // before any thread is there
  ::close(ends[child == 0 ? 0 : 1]);
  int code = 1;
  try {
    const Pipe pipe(ends[child == 0 ? 1 : 0]);
    code = child == 0 ? run_clients(options, pipe, shared) : run_server(options, pipe, shared);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::fflush(stdout);
  if (child == 0) ::_exit(code);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? std::max(code, WEXITSTATUS(status)) : 1;
}
