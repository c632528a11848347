// Members as threads of this process, over 127.0.0.1.
#include "learn/tree_collective.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "learn/optimizer.h"

using namespace zeroth;

#ifdef ZEROTH_GLOO
namespace {

uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

void run(int size, const std::function<void(Team&)>& work) {
  const uint16_t port = free_port();
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto team =
            Team::join({"torchrun", r, size, size, "127.0.0.1", port, ""}, {}, {60, 10});
        work(*team);
        team->gather("end", "");
      } catch (const Error& error) {
        FAIL_CHECK(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Some tensors of more than a chunk, some that do not learn, some without decay.
Parameters make_parameters() {
  std::vector<ParameterInfo> infos;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, bool decay) {
    ParameterInfo info;
    info.name = name;
    info.shape = std::move(shape);
    info.decay = decay;
    infos.push_back(info);
  };
  add("embedding", {700, 300}, true);
  add("norm", {77}, false);
  add("frozen", {300, 300}, true);
  add("matrix", {500, 277}, true);
  add("bias", {5}, false);
  Parameters parameters(std::move(infos));
  parameters.set_trainable("frozen", false);
  Rng rng(1, 0);
  for (const ParameterInfo& info : parameters.infos()) {
    for (float& w : parameters.view(info)) w = static_cast<float>(rng.normal());
  }
  return parameters;
}

struct Outcome {
  std::vector<float> weights;
  std::vector<double> norms;
};

// Gradient of a branch in an update; of some branches there is none.
bool fill_branch(const Parameters& parameters, int update, int branch, std::span<float> to) {
  Rng rng(static_cast<uint64_t>(100 * update + branch), 7);
  if (rng.chance(0.3)) return false;
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.trainable) continue;
    for (int64_t i = 0; i < info.count; ++i)
      to[info.offset + i] = static_cast<float>(rng.normal() * std::exp(3 * rng.normal()));
  }
  return true;
}

Outcome train(Collective& collective, int branches, int updates) {
  Parameters parameters = make_parameters();
  OptimizerConfig config;
  config.weight_decay = 0.1;
  AdamW optimizer(parameters, config);
  const size_t floats = parameters.values().size();
  const TreeNode own = own_branches(branches, collective.rank(), collective.size());
  GradientTree tree(floats, branches, {{0, static_cast<int64_t>(floats)}}, own);
  Outcome outcome;
  std::vector<float> gradient(floats);
  for (int update = 0; update < updates; ++update) {
    tree.begin();
    for (int b = own.begin; b < own.end; ++b) {
      if (!fill_branch(parameters, update, b, gradient)) continue;
      const std::span<float> to = tree.branch(b).host();
      std::copy(gradient.begin(), gradient.end(), to.begin());
    }
    const std::span<float> sum = collective.reduce(tree, optimizer.shards());
    outcome.norms.push_back(optimizer.step(parameters, sum, 0.01, &collective));
  }
  const auto values = parameters.values();
  outcome.weights.assign(values.begin(), values.end());
  return outcome;
}

}  // namespace

TEST_CASE("any number of members makes the updates of one, bit for bit") {
  for (const int branches : {8, 13}) {
    Alone alone;
    const Outcome want = train(alone, branches, 3);
    for (const double norm : want.norms) CHECK(norm > 0);
    for (const int size : {2, 3, 5, 8}) {
      CAPTURE(branches);
      CAPTURE(size);
      std::vector<Outcome> got(size);
      run(size, [&](Team& team) {
        TreeCollective collective(team);
        got[team.rank()] = train(collective, branches, 3);
      });
      for (const Outcome& one : got) {
        CHECK(one.norms == want.norms);
        CHECK(one.weights == want.weights);
      }
    }
  }
}

TEST_CASE("counts are added over members") {
  run(3, [](Team& team) {
    TreeCollective collective(team);
    std::vector<int64_t> counts{team.rank(), 10, int64_t{1} << 40};
    collective.add(counts);
    CHECK(counts == std::vector<int64_t>{3, 30, 3 * (int64_t{1} << 40)});
  });
}
#endif

TEST_CASE("shards cover what learns, once, in chunks") {
  const std::vector<ParameterBlock> blocks{
      {16, 200'000, true}, {200'000, 200'005, false}, {300'000, 400'000, true}};
  const Shards shards(blocks);
  for (const int size : {1, 2, 3, 4, 7, 20}) {
    std::vector<FloatRange> all;
    for (int r = 0; r < size; ++r) {
      for (const FloatRange& range : shards.of(r, size)) {
        if (!all.empty()) CHECK(range.begin >= all.back().end);
        if (!all.empty() && all.back().end == range.begin) {
          all.back().end = range.end;
        } else {
          all.push_back(range);
        }
      }
    }
    REQUIRE(all.size() == 2);
    CHECK(all[0].begin == 16);
    CHECK(all[0].end == 200'005);
    CHECK(all[1].begin == 300'000);
    CHECK(all[1].end == 400'000);
  }
}
