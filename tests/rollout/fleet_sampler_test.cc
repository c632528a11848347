// Samples of a fleet are those of this process, bit by bit, whatever workers do.
#include <cmath>

#include "core/error.h"
#include "fleet_support.h"

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
    CHECK(fleet.errors.empty());
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
    CHECK(fleet.errors.empty());
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
  CHECK(fleet.errors.empty());
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

// What a liar may do to a result. Each is caught when every group is computed again.
struct Lie {
  const char* name;
  void (*tell)(const Lease&, Result&);
};
float next_up(float value) { return std::nextafter(value, 1e30f); }
const Lie kLies[] = {
    {"one ulp of a log-prob",
     [](const Lease&, Result& r) { r.samples[1].logprobs[2] = next_up(r.samples[1].logprobs[2]); }},
    {"one ulp of the last log-prob",
     [](const Lease&, Result& r) {
       r.samples[0].logprobs.back() = next_up(r.samples[0].logprobs.back());
     }},
    {"one ulp of an entropy",
     [](const Lease&, Result& r) {
       r.samples[0].entropies[0] = next_up(r.samples[0].entropies[0]);
     }},
    {"another token", [](const Lease&, Result& r) { r.samples[0].tokens[3] ^= 1; }},
    {"another last token", [](const Lease&, Result& r) { r.samples[0].tokens.back() ^= 1; }},
    {"the other sign",
     [](const Lease&, Result& r) { r.samples[0].logprobs[0] = -r.samples[0].logprobs[0]; }},
    {"a sample twice", [](const Lease&, Result& r) { r.samples[1] = r.samples[0]; }},
    {"samples in another order",
     [](const Lease&, Result& r) { std::swap(r.samples[0], r.samples[1]); }},
    {"one sample for all",
     [](const Lease&, Result& r) {
       for (Sample& s : r.samples) s = r.samples.back();
     }},
    {"log-probs of another sample",
     [](const Lease&, Result& r) { r.samples[0].logprobs = r.samples[1].logprobs; }},
    {"tokens reversed",
     [](const Lease&, Result& r) {
       std::reverse(r.samples[0].tokens.begin(), r.samples[0].tokens.end());
     }},
    {"log-probs all zero",
     [](const Lease&, Result& r) {
       r.samples[0].logprobs.assign(r.samples[0].logprobs.size(), 0);
     }},
    {"two tokens exchanged",
     [](const Lease&, Result& r) { std::swap(r.samples[2].tokens[0], r.samples[2].tokens[4]); }},
};

TEST_CASE("lies are caught at audit rate 1, the liar is shut out, its work is made again") {
  for (const Lie& lie : kLies) {
    CAPTURE(lie.name);
    FleetConfig config;
    config.audit_rate = 1;
    Fleet fleet("dense", config);
    auto liar = fleet.options("liar");
    liar.tamper = lie.tell;
    fleet.start(liar);
    const auto wanted = requests(4, 3, 9);
    std::vector<std::vector<Sample>> found;
    std::thread training([&] { found = fleet.sampler->generate(wanted); });
    for (int i = 0; i < 2000 && fleet.sampler->coordinator().status()["quarantined"].empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    fleet.start(fleet.options("honest"));
    training.join();
    check_equal(found, fleet.expected(wanted));
    const Json status = fleet.sampler->coordinator().status();
    CHECK(status["quarantined"].contains("liar"));
    CHECK_FALSE(status["quarantined"].contains("honest"));
    CHECK(std::filesystem::exists(fleet.folder.path / "fleet" / "evidence" / "000000.json"));
  }
}

TEST_CASE("a worker that makes what the rules forbid is told so, and its work goes to others") {
  FleetConfig config;
  config.lease_s = 0.5;
  config.audit_rate = 0;
  const Lie shapes[] = {
      {"too few samples", [](const Lease&, Result& r) { r.samples.pop_back(); }},
      {"stale weights", [](const Lease&, Result& r) { r.weights = std::string(64, 'a'); }},
      {"a token outside the vocabulary",
       [](const Lease&, Result& r) { r.samples[0].tokens[0] = 5000; }},
      {"a sample cut short",
       [](const Lease&, Result& r) {
         Sample& s = r.samples[0];
         s.tokens.pop_back();
         s.logprobs.pop_back();
         s.entropies.pop_back();
       }},
      {"not a number", [](const Lease&, Result& r) { r.samples[0].logprobs[0] = NAN; }},
      {"a log-prob too few", [](const Lease&, Result& r) { r.samples[0].logprobs.pop_back(); }},
      {"experts of a dense model",
       [](const Lease&, Result& r) { r.samples[0].experts.assign(9, 1); }},
  };
  for (const Lie& lie : shapes) {
    CAPTURE(lie.name);
    Fleet fleet("dense", config);
    auto liar = fleet.options("liar");
    liar.tamper = lie.tell;
    fleet.start(liar);
    const auto wanted = requests(2, 3, 9);
    std::vector<std::vector<Sample>> found;
    std::thread training([&] { found = fleet.sampler->generate(wanted); });
    for (int i = 0; i < 2000 && fleet.sampler->coordinator().status()["counts"]["malformed"] == 0;
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    fleet.start(fleet.options("honest"));
    training.join();
    check_equal(found, fleet.expected(wanted));
    CHECK(fleet.sampler->coordinator().status()["counts"]["malformed"] > 0);
  }
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
