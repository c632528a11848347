// `zeroth bench --ranks N`: a GRPO step that N learners share, and what they exchange.
//
// Started as one process it starts the ranks itself, and in turns with them one that has all cores;
// started by a launcher it is a rank.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cli/bench.h"
#include "cli/rank_facts.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/process_cost.h"
#include "core/sha256.h"
#include "core/stopwatch.h"
#include "core/system.h"
#include "learn/expert_team.h"
#include "learn/tree_collective.h"
#include "ranks/team.h"
#include "rl/shared_sampler.h"
#include "rollout/local_sampler.h"

namespace zeroth {
namespace {

constexpr int kExchanges = 3;  // of which the fastest counts

// Bytes of the array that have memory behind them.
int64_t resident_bytes(std::span<const float> values) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto bytes = std::as_bytes(values);
  const size_t before = reinterpret_cast<uintptr_t>(bytes.data()) % page;  // in its first page
  auto* const begin = const_cast<std::byte*>(bytes.data() - before);
  const size_t length = bytes.size() + before;
  std::vector<unsigned char> pages((length + page - 1) / page);
  if (bytes.empty() || ::mincore(begin, length, pages.data()) != 0) return 0;
  const auto resident = std::count_if(pages.begin(), pages.end(), [](auto p) { return p & 1; });
  return resident * static_cast<int64_t>(page);
}

// One rank, or one process alone (team null).
class RankBench {
 public:
  RankBench(Policy& policy, const BenchOptions& options, Team* team)
      : policy_(policy), options_(options), team_(team) {}

  Json run() {
    Json out = {{"ranks", team_ != nullptr ? team_->size() : 1}, {"threads", num_threads()}};
    Shards shards({});
    out["step"] = step(shards, out);
    out["weights_sha256"] = weights_hash();
    out["peak_rss_mb"] = peak_memory_mb();
    if (team_ == nullptr) return out;
    out["engine"] = options_.engine;
    // With experts apart, too, what is measured is the tree of everything.
    const auto all = static_cast<int64_t>(policy_.parameters().values().size());
    out["exchange"] = exchange(options_.expert_parallel ? Shards({{0, all, false}}) : shards);
    return merged(out);
  }

 private:
  void meet() {
    if (team_ != nullptr) team_->gather("bench", "");
  }

  // Of all masters, wherever they are.
  std::string weights_hash() {
    constexpr int64_t kPiece = int64_t{1} << 20;
    const auto all = static_cast<int64_t>(policy_.parameters().values().size());
    Sha256 hash;
    std::vector<float> piece;
    for (int64_t at = 0; at < all; at += kPiece) {
      piece.resize(static_cast<size_t>(std::min(kPiece, all - at)));
      policy_.read_masters(at, piece);
      hash.update(piece.data(), piece.size() * sizeof(float));
    }
    return hash.hex();
  }

  // The second of two steps, when all memory is warm.
  Json step(Shards& shards, Json& out) {
    OptimizerConfig optimizer;
    optimizer.lr = 1e-6;
    TrainerConfig config;
    config.branches = options_.branches;
    Trainer trainer(policy_, nullptr, config, LossConfig{}, optimizer, 1, 2, options_.tokens, 1.0,
                    team_);
    EngineConfig engine;
    engine.max_batch = std::min(options_.prompts * options_.samples, 256);
    std::unique_ptr<Sampler> sampler = std::make_unique<LocalSampler>(
        policy_.weights(), nullptr, engine, trainer.activation_store());
    if (team_ != nullptr) {
      sampler = std::make_unique<SharedSampler>(std::move(sampler), *team_,
                                                SharedSampler::Shares::kEqual);
    }
    Tickets tickets;
    trainer.update(bench_groups(policy_, options_, *sampler, tickets), 0, tickets);
    meet();
    const double waited = team_ != nullptr ? team_->waited_seconds() : 0;
    const int64_t sent = team_ != nullptr ? team_->sent_bytes() : 0;
    const double computed = process_cost().core_seconds, start = steady_now();
    const std::vector<Group> groups = bench_groups(policy_, options_, *sampler, tickets);
    const double sampled = steady_now();
    const double waited_sampling = team_ != nullptr ? team_->waited_seconds() : 0;
    trainer.update(groups, 1, tickets);
    const double end = steady_now();
    shards = trainer.optimizer().shards();
    int64_t learnt = 0;
    for (const Shards::Chunk& chunk : shards.chunks())
      learnt += chunk.range.end - chunk.range.begin;
    const int64_t moments = resident_bytes(trainer.optimizer().first_moment()) +
                            resident_bytes(trainer.optimizer().second_moment());
    out["parameters"] = learnt;
    out["optimizer_mb"] = static_cast<double>(moments) / 1e6;
    out["optimizer_share"] = static_cast<double>(moments) / (8.0 * static_cast<double>(learnt));
    Json row = {{"seconds", end - start},
                {"sample_seconds", sampled - start},
                {"update_seconds", end - sampled},
                {"cpu_seconds", process_cost().core_seconds - computed}};
    if (team_ != nullptr) {
      row["exchange_seconds"] = team_->waited_seconds() - waited;
      row["update_exchange_seconds"] = team_->waited_seconds() - waited_sampling;
      row["sent_mb"] = static_cast<double>(team_->sent_bytes() - sent) / 1e6;
    }
    return row;
  }

  // Gradients through the tree and parameters back, beside the engine's own sum of as many floats;
  // all ranks begin at once, so nobody waits for anybody's arithmetic.
  Json exchange(const Shards& shards) {
    const std::span<float> values = policy_.parameters().values();
    const TreeNode own = own_branches(options_.branches, team_->rank(), team_->size());
    const FloatRanges all = {{0, static_cast<int64_t>(values.size())}};
    GradientTree gradients(values.size(), options_.branches, all, own);
    const std::vector<bool> filled(options_.branches, true);
    TreeCollective tree(*team_);
    double reduce = 1e300, gather = 1e300, sum = 1e300;
    int64_t sent = 0;
    for (int i = 0; i < kExchanges; ++i) {
      gradients.begin();
      for (int b = own.begin; b < own.end; ++b) gradients.branch(b);  // zeros: they take as long
      gradients.parts();                                              // adds the own ones
      meet();
      sent = -team_->sent_bytes();
      const double start = steady_now();
      tree.begin_reduce(filled, shards);
      tree.reduce(gradients);
      const double reduced = steady_now();
      tree.gather(values, shards);
      const double end = steady_now();
      sent += team_->sent_bytes();
      reduce = std::min(reduce, reduced - start);
      gather = std::min(gather, end - reduced);
    }
    std::vector<float> plain(values.size(), 1.0f);
    for (int i = 0; i < kExchanges; ++i) {
      meet();
      const double start = steady_now();
      team_->sum(plain);
      sum = std::min(sum, steady_now() - start);
    }
    return {{"reduce_seconds", reduce},
            {"gather_seconds", gather},
            {"engine_sum_seconds", sum},
            {"sent_mb", static_cast<double>(sent) / 1e6}};
  }

  // Rank 0's view of all: the slowest counts for a step and an exchange, the one that waited least
  // for its share of communication, and processors' time is that of all.
  Json merged(Json own) {
    const auto texts = team_->gather("bench's figures", own.dump());
    double least = 1e300, least_updating = 1e300, computed = 0;
    for (const char* part : {"step", "exchange"}) own[part] = Json::object();
    own["rank"] = Json::array();
    for (const std::string& text : texts) {
      const Json one = parse_json(text, "a rank's figures");
      for (const char* part : {"step", "exchange"}) {
        for (const auto& [name, value] : one.at(part).items()) {
          own[part][name] = std::max(own[part].value(name, 0.0), value.get<double>());
        }
      }
      least = std::min(least, one["step"]["exchange_seconds"].get<double>());
      computed += one["step"]["cpu_seconds"].get<double>();
      least_updating =
          std::min(least_updating, one["step"]["update_exchange_seconds"].get<double>());
      own["rank"].push_back({{"exchange_seconds", one["step"]["exchange_seconds"]},
                             {"sent_mb", one["step"]["sent_mb"]},
                             {"optimizer_mb", one["optimizer_mb"]},
                             {"peak_rss_mb", one["peak_rss_mb"]}});
      own["peak_rss_mb"] =
          std::max(own["peak_rss_mb"].get<double>(), one["peak_rss_mb"].get<double>());
      own["optimizer_share"] =
          std::max(own["optimizer_share"].get<double>(), one["optimizer_share"].get<double>());
      if (one["weights_sha256"] != own["weights_sha256"]) fail("the ranks have other weights");
    }
    own["step"]["cpu_seconds"] = computed;
    const double seconds = own["step"]["seconds"].get<double>();
    const Json& tree = own["exchange"];
    const double alone =
        tree["reduce_seconds"].get<double>() + tree["gather_seconds"].get<double>();
    own["communication_share"] = least / seconds;
    own["tree_share"] = alone / seconds;
    // Of what the tree takes when nothing else is done, what an update does not wait for.
    own["overlap"] = std::max(0.0, 1 - least_updating / alone);
    return own;
  }

  Policy& policy_;
  const BenchOptions& options_;
  Team* const team_;
};

uint16_t free_port() {
  const int fd = system::stream_socket(AF_INET, true);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail("cannot find a free port on 127.0.0.1");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

[[noreturn]] void become_rank(const Args& args, int rank, int ranks, uint16_t port, int out) {
  system::end_with_parent(SIGTERM);
  ::dup2(out, STDOUT_FILENO);
  const auto set = [](const char* name, const std::string& value) {
    ::setenv(name, value.c_str(), 1);
  };
  set("RANK", std::to_string(rank));
  set("WORLD_SIZE", std::to_string(ranks));
  set("LOCAL_WORLD_SIZE", std::to_string(ranks));
  set("MASTER_ADDR", "127.0.0.1");
  set("MASTER_PORT", std::to_string(port));
  std::vector<std::string> words = {"zeroth", "bench"};
  words.insert(words.end(), args.begin(), args.end());
  words.insert(words.end(), {"--ranks", std::to_string(ranks), "--json", "true"});
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  system::run_program_anew(argv.data());
  ::_exit(127);
}

// Runs this bench as a job of so many ranks on this machine; what rank 0 measured.
Json run_job(const Args& args, int ranks) {
  const uint16_t port = free_port();
  int ends[2];
  if (!system::open_pipe(ends)) fail("cannot make a pipe");
  std::vector<pid_t> children;
  for (int r = 0; r < ranks; ++r) {
    const pid_t pid = ::fork();
    if (pid < 0) fail("cannot start a rank: the system has no more processes", "lower --ranks");
    if (pid == 0) become_rank(args, r, ranks, port, r == 0 ? ends[1] : STDERR_FILENO);
    children.push_back(pid);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  ::close(ends[0]);
  bool good = true;
  for (const pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    good = good && status == 0;
  }
  if (!good) fail("a rank ended with an error", "see above");
  return parse_json(text, "rank 0's figures");
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Turns of the ranks and of one process with all cores.
Json compare(const BenchOptions& options, const Args& args) {
  Json out = {{"ranks", options.ranks}, {"rounds", Json::array()}};
  std::vector<double> ratios, computed, shares, trees, sums, overlaps;
  for (int i = 0; i < options.rounds; ++i) {
    std::fprintf(stderr, "round %d of %d\n", i + 1, options.rounds);
    double load[3] = {};
    ::getloadavg(load, 3);
    const Json job = run_job(args, options.ranks), alone = run_job(args, 1);
    if (job["weights_sha256"] != alone["weights_sha256"])
      fail("the ranks have other weights than one process");
    const Json& tree = job["exchange"];
    ratios.push_back(job["step"]["seconds"].get<double>() / alone["step"]["seconds"].get<double>());
    computed.push_back(job["step"]["cpu_seconds"].get<double>() /
                       alone["step"]["cpu_seconds"].get<double>());
    shares.push_back(job["communication_share"].get<double>());
    overlaps.push_back(job["overlap"].get<double>());
    trees.push_back(tree["reduce_seconds"].get<double>() + tree["gather_seconds"].get<double>());
    sums.push_back(tree["engine_sum_seconds"].get<double>());
    out["optimizer_share"] = job["optimizer_share"].get<double>();
    out["parameters"] = job["parameters"];
    out["sent_mb"] = job["step"]["sent_mb"];
    out["peak_rss_mb"] = job["peak_rss_mb"];
    out["alone_peak_rss_mb"] = alone["peak_rss_mb"];
    out["rounds"].push_back({{"job", job}, {"alone", alone}, {"load", load[0]}});
  }
  out["ratio"] = median(ratios);
  out["cpu_ratio"] = median(computed);
  out["communication_share"] = median(shares);
  out["overlap"] = median(overlaps);
  out["tree_seconds"] = median(trees);
  out["engine_sum_seconds"] = median(sums);
  return out;
}

void print_table(const Json& out) {
  const auto number = [](const Json& value) { return value.get<double>(); };
  std::printf("%.1f M parameters, %d ranks; seconds of a step\n\n", number(out["parameters"]) / 1e6,
              out["ranks"].get<int>());
  std::printf(
      "round    ranks    alone   ratio   exchanging   tree   hidden   engine's sum   load\n");
  int turn = 0;
  for (const Json& round : out["rounds"]) {
    const Json &job = round["job"], &tree = job["exchange"];
    const double step = number(job["step"]["seconds"]);
    const double alone = number(round["alone"]["step"]["seconds"]);
    std::printf("%5d  %7.2f  %7.2f  %6.3f       %5.1f%%  %5.2f    %4.0f%%          %5.2f  %5.1f\n",
                ++turn, step, alone, step / alone, 100 * number(job["communication_share"]),
                number(tree["reduce_seconds"]) + number(tree["gather_seconds"]),
                100 * number(job["overlap"]), number(tree["engine_sum_seconds"]),
                number(round["load"]));
  }
  std::printf(
      "\nmedian ratio %.3f, of processors' time %.3f; %.1f MB sent by a rank in a step, moments of "
      "a rank %.1f%%\n"
      "peak memory of a rank %.0f MiB, alone %.0f MiB\n",
      number(out["ratio"]), number(out["cpu_ratio"]), number(out["sent_mb"]),
      100 * number(out["optimizer_share"]), number(out["peak_rss_mb"]),
      number(out["alone_peak_rss_mb"]));
}

}  // namespace

int bench_ranks(const BenchOptions& options, const Args& args) {
  if (options.branches < options.ranks) {
    fail_usage("zeroth bench: --branches " + std::to_string(options.branches) + " for " +
                   std::to_string(options.ranks) + " ranks",
               "give at least as many branches as ranks");
  }
  const Launch launch = find_launch();
  const bool started = !launch.launcher.empty();
  if (started && launch.size != options.ranks) {
    fail_usage("zeroth bench: --ranks " + std::to_string(options.ranks) + ", and " +
                   launch.launcher + " started " + std::to_string(launch.size),
               "give --ranks " + std::to_string(launch.size));
  }
  if (!started && options.engine == "mpi") {
    fail_usage("zeroth bench: --engine mpi needs ranks that MPI has started",
               "mpirun -n " + std::to_string(options.ranks) + " zeroth bench --engine mpi ..");
  }
  if (!started && options.ranks > 1) {
    const Json out = compare(options, args);
    options.json ? static_cast<void>(std::printf("%s\n", out.dump().c_str())) : print_table(out);
    return 0;
  }
  std::unique_ptr<Team> team;
  if (launch.size > 1) {
    share_cores(launch);
    RanksConfig config;
    config.engine = options.engine;
    config.direct = options.direct;
    BenchOptions own = options;
    team = Team::join(launch, rank_facts("the options' hash", dump_config(own).dump()), config);
  }
  try {
    std::shared_ptr<ExpertTeam> experts;
    if (team != nullptr && options.expert_parallel) experts = std::make_shared<ExpertTeam>(*team);
    const Json out = RankBench(*bench_policy(options, experts), options, team.get()).run();
    if (team == nullptr || team->first()) std::printf("%s\n", out.dump().c_str());
  } catch (const std::exception& error) {
    if (team != nullptr) team->fail(error.what());
    throw;
  }
  return 0;
}

}  // namespace zeroth
