// Samples of a fleet are those of this process, bit by bit, whatever workers do.
#include <cmath>
#include <set>

#include "core/error.h"
#include "fleet_support.h"
#include "rollout/resample.h"

namespace zeroth::fleet::test {
namespace {

FleetConfig full_audit() {
  FleetConfig config;
  config.audit_rate = 1;
  return config;
}

TEST_CASE("one, two and four workers give the bytes of this process, step by step") {
  for (const int workers : {1, 2, 4}) {
    CAPTURE(workers);
    Fleet fleet("moe", {}, true);
    for (int w = 0; w < workers; ++w) fleet.start(fleet.options("w" + std::to_string(w)));
    for (uint32_t step = 0; step < 3; ++step) {
      const auto wanted = requests(6, 5, 20, step);
      int told = 0;
      const auto found = fleet.sampler->generate(
          wanted,
          {.done = [&](int, int, const Sample& sample) { told += !sample.tokens.empty(); }});
      check_equal(found, fleet.expected(wanted));
      CHECK(told == 30);
      for (float& value : fleet.policy->parameters().values()) value *= 1.01f;
      fleet.policy->publish(step + 1);
      fleet.sampler->publish(fleet.policy->weights());
    }
    CHECK(fleet.said() == "");
    const Json status = fleet.sampler->coordinator().status();
    CHECK(status["workers"].size() == workers);
    CHECK(status["counts"]["results"] == 18);
    CHECK(status["counts"]["mismatches"] == 0);
  }
}

TEST_CASE("bfloat16 weights travel as they are published, whole and as what changed") {
  for (const char* kind : {"moe", "latent"}) {
    CAPTURE(kind);
    Fleet fleet(kind, full_audit(), false, kernels::Element::kBfloat16);
    fleet.start(fleet.options("a"));
    for (uint32_t step = 0; step < 3; ++step) {
      const auto wanted = requests(3, 4, 20, step);
      check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
      // So little that some values keep their rounded ones.
      for (float& value : fleet.policy->parameters().values()) value *= 1.0005f;
      fleet.policy->publish(step + 1);
      fleet.sampler->publish(fleet.policy->weights());
    }
    CHECK(fleet.said() == "");
  }
}

TEST_CASE("stop strings, kept sets and split groups travel too") {
  FleetConfig config;
  config.group_split = 2;
  config.audit_rate = 1;
  Fleet fleet("latent", config);
  fleet.start(fleet.options("a"));
  auto wanted = requests(3, 5, 12);
  wanted[0].sampling.top_k = 5;
  wanted[1].sampling.top_p = 0.8;
  wanted[2].sampling.temperature = 0;
  check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
  CHECK(fleet.sampler->coordinator().status()["counts"]["audited"] == 9);
}

TEST_CASE("workers that are killed cost time, not samples") {
  FleetConfig config;
  config.lease_s = 0.5;
  Fleet fleet("dense", config);
  fleet.start(fleet.options("survivor"));
  // Takes leases and is never heard of again.
  const std::atomic<bool> go{false};
  for (int i = 0; i < 3; ++i) {
    Link link({fleet.sampler->coordinator().url(), kToken, "", 5}, go);
    Hello hello;
    hello.identity.contract = kernels::contract_hash();
    hello.name = "dead" + std::to_string(i);
    const auto welcome = Welcome::from_json(link.call("POST", "/v1/hello", hello.to_json()));
    std::thread taker([&, session = welcome.session] {
      LeasesAsked asked{session, 100, "", 0};
      asked.weights =
          LeasesGiven::from_json(link.call("POST", "/v1/leases", asked.to_json())).weights;
      for (int n = 0; n < 100; ++n) {
        if (!LeasesGiven::from_json(link.call("POST", "/v1/leases", asked.to_json()))
                 .leases.empty())
          break;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        asked.weights =
            LeasesGiven::from_json(link.call("POST", "/v1/leases", asked.to_json())).weights;
      }
    });
    const auto wanted = requests(8, 4, 30, i);
    check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
    taker.join();
  }
}

TEST_CASE("weights that are gone before a worker has fetched them cost it nothing") {
  Fleet fleet;
  fleet.start(fleet.options("a"));
  fleet.start(fleet.options("b"));
  for (int i = 1; i <= 200; ++i) {
    for (float& value : fleet.policy->parameters().values()) value *= 1.001f;
    fleet.policy->publish(i);
    fleet.sampler->coordinator().publish(*fleet.policy->weights(), 1);
  }
  fleet.sampler->publish(fleet.policy->weights());
  const auto wanted = requests(4, 3, 8);
  check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
  CHECK(fleet.said() == "");
  CHECK(fleet.sampler->coordinator().workers() == 2);
}

TEST_CASE("cancelling ends a generate that no worker serves") {
  Fleet fleet;
  std::atomic<bool> cancel{false};
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancel = true;
  });
  const auto samples = fleet.sampler->generate(requests(2, 2, 5), {.cancel = &cancel});
  later.join();
  CHECK(samples[1][1].finish == FinishReason::kAborted);
  CHECK(samples[1][1].key.sample == 1);
  // And the next one starts clean.
  fleet.start(fleet.options("late"));
  const auto wanted = requests(2, 2, 5, 1);
  check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
}

TEST_CASE(
    "requests join while weights are published; each is of one version, and handed over once") {
  FleetConfig config = full_audit();
  config.group_split = 2;
  Fleet fleet("dense", config);
  fleet.start(fleet.options("a"));
  fleet.start(fleet.options("b"));
  const auto wanted = requests(40, 3, 12);
  std::vector<WeightsPtr> versions = {fleet.policy->weights()};
  std::vector<std::vector<Sample>> got(wanted.size());
  size_t joined = 0, done = 0, whole = 0;
  GenerateOptions options;
  options.weights = WeightsUse::kNewest;
  options.more = [&](WeightsVersion version) {
    CHECK(version == versions.back()->version());
    std::vector<GenerationRequest> out;
    for (; joined < wanted.size() && joined < whole + 6; ++joined) {
      got[joined].resize(wanted[joined].samples);
      out.push_back(wanted[joined]);
    }
    return out;
  };
  options.done = [&](int request, int index, const Sample& sample) {
    CHECK(got[request][index].tokens.empty());
    got[request][index] = sample;
    if (++done % 3 != 0) return;
    ++whole;
    // In the middle of others, and faster than some of them end.
    for (float& value : fleet.policy->parameters().values()) value *= 1.002f;
    versions.push_back(fleet.policy->publish(static_cast<WeightsVersion>(versions.size())));
    fleet.sampler->publish(versions.back());
  };
  CHECK(fleet.sampler->generate({}, options).empty());
  CHECK(whole == wanted.size());
  CHECK(fleet.said() == "");
  std::set<WeightsVersion> seen;
  for (size_t r = 0; r < wanted.size(); ++r) {
    CAPTURE(r);
    const WeightsVersion version = first_version(got[r][0]);
    seen.insert(version);
    LocalSampler local(versions[version], nullptr, {});
    check_equal({got[r]}, local.generate({wanted[r]}));
  }
  CHECK(seen.size() > 10);
  const Json status = fleet.sampler->coordinator().status();
  CHECK(status["counts"]["mismatches"] == 0);
  CHECK(status["leases"]["waiting"] == 0);
  // Whole batches go on as ever.
  const auto batch = requests(2, 2, 5, 1);
  check_equal(fleet.sampler->generate(batch), fleet.expected(batch));
}

// Requests whose workers follow the weights, which change every 5 ms, or as much more rarely as the
// machine is busy: versions that come faster than samples are looked at would pile up for ever.
struct Followed {
  explicit Followed(Fleet& fleet, int requests_wanted)
      : wanted(requests(requests_wanted, 4, 40)), versions{fleet.policy->weights()} {
    std::atomic<bool> ended{false};
    std::mutex mutex;
    std::thread publisher([&] {
      using Clock = std::chrono::steady_clock;
      Clock::duration took{};  // what a change took last
      while (!ended) {
        std::this_thread::sleep_for(
            std::max<Clock::duration>(std::chrono::milliseconds(5), 8 * took));
        const Clock::time_point begin = Clock::now();
        for (float& value : fleet.policy->parameters().values()) value *= 1.0005f;
        std::lock_guard lock(mutex);
        versions.push_back(fleet.policy->publish(static_cast<WeightsVersion>(versions.size())));
        fleet.sampler->publish(versions.back());
        took = Clock::now() - begin;
      }
    });
    got.resize(wanted.size());
    size_t joined = 0, done = 0;
    GenerateOptions options;
    options.weights = WeightsUse::kSwitch;
    options.more = [&](WeightsVersion version) {
      std::vector<GenerationRequest> out;
      for (; joined < wanted.size() && joined < done / 4 + 6; ++joined) {
        got[joined].resize(wanted[joined].samples);
        begun.push_back(version);
        out.push_back(wanted[joined]);
      }
      return out;
    };
    options.done = [&](int request, int index, const Sample& sample) {
      got[request][index] = sample;
      ++done;
    };
    fleet.sampler->generate({}, options);
    ended = true;
    publisher.join();
  }

  // Draws all again in this process, from the segments, and compares.
  size_t check(Fleet& fleet) const {
    size_t most = 0;
    std::vector<std::vector<SamplePlan>> plans;
    for (size_t r = 0; r < got.size(); ++r) {
      plans.emplace_back();
      for (const Sample& sample : got[r]) {
        CHECK(first_version(sample) >= begun[r]);
        most = std::max(most, sample.versions.size());
        plans.back().push_back(plan_of(sample));
      }
    }
    EngineConfig engine;
    engine.record_experts = fleet.record_experts;
    LocalSampler local(versions[0], nullptr, engine);
    check_equal(resample(local, wanted, plans, [&](WeightsVersion v) { return versions[v]; }), got);
    return most;
  }

  std::vector<GenerationRequest> wanted;
  std::vector<WeightsPtr> versions;
  std::vector<WeightsVersion> begun;
  std::vector<std::vector<Sample>> got;
};

TEST_CASE("workers that follow the weights say which drew which token, and every one is right") {
  FleetConfig config = full_audit();
  config.group_split = 2;
  for (const char* kind : {"dense", "moe"}) {
    CAPTURE(kind);
    Fleet fleet(kind, config, std::string(kind) == "moe");
    fleet.start(fleet.options("a"));
    fleet.start(fleet.options("b"));
    const Followed followed(fleet, 30);
    CHECK(followed.check(fleet) > 1);
    CHECK(fleet.said() == "");
    CHECK(fleet.sampler->coordinator().status()["counts"]["mismatches"] == 0);
  }
}

TEST_CASE("a lie about which weights drew a token is caught, and made again by others") {
  struct Kind {
    const char* name;
    std::function<bool(Result&)> tell;  // whether there was anything to lie about
  };
  const Kind kinds[] = {
      {"a switch one token later",
       [](Result& result) {
         for (Sample& sample : result.samples) {
           if (sample.versions.size() < 2) continue;
           const size_t end = sample.versions.size() > 2
                                  ? static_cast<size_t>(sample.versions[2].first)
                                  : sample.tokens.size();
           if (static_cast<size_t>(sample.versions[1].first) + 1 >= end) continue;
           ++sample.versions[1].first;
           return true;
         }
         return false;
       }},
      {"all by the newest",
       [](Result& result) {
         bool any = false;
         for (Sample& sample : result.samples) {
           any = any || sample.versions.size() > 1;
           sample.versions = {{0, sample.versions.back().version}};
         }
         return any;
       }},
  };
  for (const Kind& kind : kinds) {
    CAPTURE(kind.name);
    Fleet fleet("dense", full_audit());
    fleet.start(fleet.options("honest"));
    std::atomic<int> lies{0};
    WorkerOptions liar = fleet.options("liar");
    liar.tamper = [&](const Lease&, Result& result) { lies += kind.tell(result); };
    fleet.start(liar);
    const Followed followed(fleet, 40);
    followed.check(fleet);
    if (lies > 0) CHECK(fleet.sampler->coordinator().status()["counts"]["mismatches"] == 1);
  }
}

TEST_CASE("segments that make no sense are refused") {
  Result result;
  result.samples.resize(1);
  Sample& sample = result.samples[0];
  sample.tokens = {3, 4, 5};
  sample.logprobs = sample.entropies = {0, 0, 0};
  result.used = {std::string(64, 'a'), std::string(64, 'b')};
  sample.versions = {{0, 0}, {2, 1}};
  CHECK(Result::from_json(result.to_json()).samples[0].versions == sample.versions);
  using Segments = std::vector<VersionSegment>;
  for (const Segments& bad :
       {Segments{}, Segments{{1, 0}}, Segments{{0, 0}, {3, 1}}, Segments{{0, 1}, {2, 0}},
        Segments{{0, 0}, {0, 1}}, Segments{{0, 2}}, Segments{{0, -1}}, Segments{{0, 0}, {1, 0}}}) {
    sample.versions = bad;
    CHECK_THROWS_AS(Result::from_json(result.to_json()), Error);
  }
  sample.versions = {{0, 0}};
  result.used = {"no hash"};
  CHECK_THROWS_AS(Result::from_json(result.to_json()), Error);
}

TEST_CASE("a liar among those whose requests join is shut out, and what it made is made again") {
  Fleet fleet("dense", full_audit());
  fleet.start(fleet.options("honest"));
  WorkerOptions liar = fleet.options("liar");
  liar.tamper = [](const Lease&, Result& result) {
    result.samples.back().logprobs.back() =
        std::nextafter(result.samples.back().logprobs.back(), 0.f);
  };
  fleet.start(liar);
  const auto wanted = requests(30, 2, 10);
  std::vector<std::vector<Sample>> got(wanted.size());
  size_t joined = 0, done = 0;
  GenerateOptions options;
  options.weights = WeightsUse::kNewest;
  options.more = [&](WeightsVersion) {
    std::vector<GenerationRequest> out;
    for (; joined < wanted.size() && joined < done / 2 + 5; ++joined) {
      got[joined].resize(wanted[joined].samples);
      out.push_back(wanted[joined]);
    }
    return out;
  };
  options.done = [&](int request, int index, const Sample& sample) {
    got[request][index] = sample;
    ++done;
  };
  fleet.sampler->generate({}, options);
  check_equal(got, fleet.expected(wanted));
}

TEST_CASE("requests that no sampler takes are refused before any work") {
  Fleet fleet;
  auto wanted = requests(1, 1, 5);
  wanted[0].prompt.clear();
  CHECK_THROWS_AS(fleet.sampler->generate(wanted), Error);
  wanted[0].prompt = {5000};
  CHECK_THROWS_AS(fleet.sampler->generate(wanted), Error);
  fleet.sampler->publish(nullptr);
  CHECK_THROWS_AS(fleet.sampler->generate(requests(1, 1, 5)), Error);
}

TEST_CASE("a share of the groups is computed again, chosen by their keys alone") {
  FleetConfig config;
  config.audit_rate = 0.25;
  Fleet fleet("dense", config);
  fleet.start(fleet.options("a"));
  const auto wanted = requests(60, 1, 2);
  fleet.sampler->generate(wanted);
  const int64_t audited = fleet.sampler->coordinator().status()["counts"]["audited"];
  CHECK(audited > 4);
  CHECK(audited < 30);
  fleet.sampler->generate(wanted);
  CHECK(fleet.sampler->coordinator().status()["counts"]["audited"] == 2 * audited);
}

}  // namespace
}  // namespace zeroth::fleet::test
