// Members as threads of this process, over 127.0.0.1.
#include "learn/tree_collective.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
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

void run(int size, bool direct, const std::function<void(Team&)>& work, bool together = true) {
  const uint16_t port = free_port();
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto team = Team::join({"torchrun", r, size, size, "127.0.0.1", port, ""}, {},
                                     {.timeout_s = 60, .silence_s = 10, .direct = direct});
        work(*team);
        if (together) team->gather("end", "");
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
  add("embedding", {5000, 300}, true);
  add("norm", {77}, false);
  add("frozen", {300, 300}, true);
  add("matrix", {3000, 277}, true);
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

bool filled_branch(int update, int branch) {
  return Rng(static_cast<uint64_t>(100 * update + branch), 7).below(10) >= 3;
}
// Gradient of a branch in an update, in which magnitudes differ much; of some branches there is none.
bool fill_branch(const Parameters& parameters, int update, int branch, std::span<float> to) {
  if (!filled_branch(update, branch)) return false;
  Rng rng(static_cast<uint64_t>(100 * update + branch), 8);
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.trainable) continue;
    for (int64_t i = 0; i < info.count; ++i) {
      const uint32_t bits = rng.bits();
      to[info.offset + i] =
          std::bit_cast<float>((bits & 0x807fffff) | (110 + (bits >> 23) % 24) << 23);
    }
  }
  return true;
}

// As a learner does; what is complete of the last branch goes out in pieces of this member's own,
// `chatty` or all at the end. `given_up`: an update that comes to nothing, which each member leaves
// elsewhere.
Outcome train(Collective& collective, int branches, int updates, bool chatty, int given_up = -1) {
  Parameters parameters = make_parameters();
  OptimizerConfig config;
  config.weight_decay = 0.1;
  AdamW optimizer(parameters, config);
  const size_t floats = parameters.values().size();
  const TreeNode own = own_branches(branches, collective.rank(), collective.size());
  GradientTree tree(floats, branches, {{0, static_cast<int64_t>(floats)}}, own);
  Outcome outcome;
  Rng pace(static_cast<uint64_t>(collective.rank()), 3);
  std::vector<float> gradient(floats);
  for (int update = 0; update < updates; ++update) {
    std::vector<bool> filled;
    for (int b = 0; b < branches; ++b) filled.push_back(filled_branch(update, b));
    int last = -1;
    for (int b = own.begin; b < own.end; ++b) last = filled[b] ? b : last;
    tree.begin();
    collective.begin_reduce(filled, optimizer.shards());
    const bool leave = update == given_up;
    for (int b = own.begin; b <= last && !(leave && pace.chance(0.3)); ++b) {
      if (!fill_branch(parameters, update, b, gradient)) continue;
      const std::span<float> to = tree.branch(b).host();
      if (b < last || !chatty) {
        std::copy(gradient.begin(), gradient.end(), to.begin());
        continue;
      }
      for (auto end = static_cast<int64_t>(floats); end > 0;) {
        const int64_t from =
            std::max<int64_t>(0, end - static_cast<int64_t>(pace.below(floats / 4)));
        std::copy(gradient.begin() + from, gradient.begin() + end, to.begin() + from);
        if (leave && from < static_cast<int64_t>(floats) / 2) break;
        // The lowest are complete when the sum is asked for.
        if (from > 0) collective.contribute(tree, from);
        end = from;
      }
    }
    if (leave) {
      collective.abandon();
      continue;
    }
    const std::span<float> sum = collective.reduce(tree);
    outcome.norms.push_back(optimizer.step(parameters, sum, 0.01, &collective));
    if (chatty) {
      for (int64_t end = 0; end < static_cast<int64_t>(floats); end += 70'000)
        collective.await(end);
    }
    collective.await(Collective::kAll);
  }
  const auto values = parameters.values();
  outcome.weights.assign(values.begin(), values.end());
  return outcome;
}

}  // namespace

TEST_CASE("any number of members makes the updates of one, bit for bit") {
  for (const int branches : {8, 13}) {
    Alone alone;
    const Outcome want = train(alone, branches, 3, false);
    for (const double norm : want.norms) CHECK(norm > 0);
    for (const int size : {2, 3, 5, 8}) {
      CAPTURE(branches);
      CAPTURE(size);
      std::vector<Outcome> got(size);
      run(size, size != 3, [&](Team& team) {
        TreeCollective collective(team);
        got[team.rank()] = train(collective, branches, 3, size != 5);
      });
      for (const Outcome& one : got) {
        CHECK(one.norms == want.norms);
        CHECK(one.weights == want.weights);
      }
    }
  }
}

TEST_CASE("an update that members give up, each where it is, leaves nothing behind") {
  const auto without_second = [](Collective& collective) {
    return train(collective, 8, 3, true, 1);
  };
  Alone alone;
  const Outcome want = without_second(alone);
  REQUIRE(want.norms.size() == 2);
  for (const bool direct : {false, true}) {
    std::vector<Outcome> got(3);
    run(3, direct, [&](Team& team) {
      TreeCollective collective(team);
      got[team.rank()] = without_second(collective);
    });
    for (const Outcome& one : got) CHECK(one.weights == want.weights);
  }
}

TEST_CASE("a member that fails while gradients are under way ends the others") {
  for (const bool direct : {false, true}) {
    std::vector<std::string> errors(2);
    run(
        2, direct,
        [&](Team& team) {
          try {
            TreeCollective collective(team);
            const Shards shards({{0, 3'000'000, true}});
            collective.begin_reduce({true, true}, shards);
            GradientTree tree(3'000'000, 2, {{0, 3'000'000}}, {team.rank(), team.rank() + 1});
            tree.begin();
            tree.branch(team.rank());
            collective.contribute(tree, 1'000'000);
            if (team.rank() == 1) {
              team.fail("the disk is full");
              fail("the disk is full");
            }
            collective.reduce(tree);
          } catch (const Error& error) {
            errors[team.rank()] = error.what();
          }
        },
        false);
    for (const std::string& error : errors) {
      CAPTURE(error);
      CHECK(error.find("the disk is full") != std::string::npos);
    }
  }
}

TEST_CASE("counts are added over members") {
  run(3, true, [](Team& team) {
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

TEST_CASE("bands are dealt among all members, nearly evenly") {
  std::vector<ParameterBlock> blocks;
  int64_t at = 0;
  for (int layer = 0; layer < 40; ++layer) {
    blocks.push_back({at, at + 512, false});
    blocks.push_back({at + 512, at + 3'000'000 + 1000 * layer, true});
    at = blocks.back().end;
  }
  const Shards shards(blocks);
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const std::vector<Band> bands = shards.bands(size);
    int64_t end = 0;
    std::vector<int64_t> dealt(size);
    for (const Band& band : bands) {
      CHECK(band.range.begin == end);
      end = band.range.end;
      std::vector<FloatRange> all;
      for (int r = 0; r < size; ++r) {
        CHECK(common(band.of[r], shards.of(r, size)) == band.of[r]);
        all.insert(all.end(), band.of[r].begin(), band.of[r].end());
        dealt[r] += floats_in(band.of[r]);
      }
      CHECK(united(all) == FloatRanges{band.range});
    }
    CHECK(end == at);
    CHECK(bands.size() > static_cast<size_t>(at / (2 * Shards::kDealt * size)));
    for (const int64_t floats : dealt)
      CHECK(static_cast<double>(floats) == doctest::Approx(at / size).epsilon(0.02));
  }
}
