// What liars may do to results, one after the other: with every group computed again none of it is
// trained on, and the honest worker's bytes are those of this process.
#include <algorithm>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "fleet_support.h"

namespace zeroth::fleet::test {
namespace {

// A fleet whose weights have changed once, and what a liar knows besides the current ones.
struct World {
  explicit World(const FleetConfig& config) : fleet("moe", config, true) {
    old = fleet.policy->weights();
    for (float& value : fleet.policy->parameters().values()) value *= 1.01f;
    fleet.policy->publish(1);
    fleet.sampler->publish(fleet.policy->weights());
    rounded = Policy::init(fleet.policy->config(), 3, kernels::Element::kBfloat16);
    std::copy(fleet.policy->parameters().values().begin(),
              fleet.policy->parameters().values().end(), rounded->parameters().values().begin());
    rounded->publish(1);
  }
  // What an honest worker would make of another request.
  std::vector<Sample> drawn(const GenerationRequest& request, WeightsPtr weights = nullptr) const {
    EngineConfig engine;
    engine.record_experts = true;
    LocalSampler local(weights ? weights : fleet.policy->weights(), nullptr, engine);
    return local.generate({request})[0];
  }
  Fleet fleet;
  WeightsPtr old;
  std::unique_ptr<Policy> rounded;
};

enum class Fate {
  kConvicted,  // shut out, with evidence
  kRefused     // told so at once: it is not what was asked for
};
struct Lie {
  const char* name;
  Fate fate;
  std::function<void(const World&, const Lease&, Result&)> tell;
};

float next_up(float value) { return std::nextafter(value, 1e30f); }
void cut(Sample& sample, size_t layers, size_t top_k) {
  sample.tokens.pop_back();
  sample.logprobs.pop_back();
  sample.entropies.pop_back();
  sample.kept_offsets.pop_back();
  sample.kept_ids.resize(sample.kept_offsets.back());
  sample.experts.resize(sample.tokens.size() * layers * top_k);
  sample.router_confidence.resize(sample.tokens.size() * layers);
}
void extend(Sample& sample, size_t layers, size_t top_k) {
  sample.tokens.push_back(sample.tokens.back());
  sample.logprobs.push_back(sample.logprobs.back());
  sample.entropies.push_back(sample.entropies.back());
  sample.kept_ids.push_back(sample.tokens.back());
  sample.kept_offsets.push_back(static_cast<int32_t>(sample.kept_ids.size()));
  sample.experts.resize(sample.tokens.size() * layers * top_k);
  sample.router_confidence.resize(sample.tokens.size() * layers);
}

// Another token of the set that the sampler kept.
void draw_other(Sample& sample, size_t t) {
  const auto begin = sample.kept_ids.begin() + sample.kept_offsets[t];
  sample.tokens[t] = *begin == sample.tokens[t] ? begin[1] : *begin;
}
// Kept sets that any token fits.
void keep_all(Sample& sample) {
  sample.kept_ids.clear();
  for (size_t t = 0; t < sample.tokens.size(); ++t) {
    for (TokenId id = 0; id < kTinyVocab; ++id) sample.kept_ids.push_back(id);
    sample.kept_offsets[t + 1] = static_cast<int32_t>(sample.kept_ids.size());
  }
}
// In place of an id that was not drawn, one that is in no kept set of the token.
void keep_other(Sample& sample) {
  std::vector<int32_t>& ids = sample.kept_ids;
  const auto end = ids.begin() + sample.kept_offsets[1];
  TokenId other = 0;
  while (std::find(ids.begin(), end, other) != end) ++other;
  ids[ids[0] == sample.tokens[0] ? 1 : 0] = other;
  std::sort(ids.begin(), end);
}
// An expert that the first row was not sent to.
void choose_other(std::vector<uint8_t>& experts, const kernels::RouterConfig& router) {
  const auto end = experts.begin() + router.top_k;
  for (int e = 0; e < router.experts; ++e) {
    if (std::find(experts.begin(), end, e) != end) continue;
    experts[0] = static_cast<uint8_t>(e);
    return;
  }
}

std::vector<Lie> lies() {
  using W = const World&;
  using L = const Lease&;
  using R = Result&;
  const auto shape = [](W w) {
    const PolicyConfig& model = w.fleet.policy->config();
    return std::pair<size_t, size_t>(model.moe_layers(), model.router.top_k);
  };
  const auto other = [](const char* name, const std::function<void(GenerationRequest&)>& change) {
    return Lie{name, Fate::kConvicted, [change](W w, L lease, R r) {
                 GenerationRequest request = lease.request;
                 change(request);
                 r.samples = w.drawn(request);
               }};
  };
  std::vector<Lie> out = {
      {"one ulp of a log-prob", Fate::kConvicted,
       [](W, L, R r) { r.samples[1].logprobs[2] = next_up(r.samples[1].logprobs[2]); }},
      {"one ulp of the last log-prob", Fate::kConvicted,
       [](W, L, R r) { r.samples[0].logprobs.back() = next_up(r.samples[0].logprobs.back()); }},
      {"the other sign of a log-prob", Fate::kConvicted,
       [](W, L, R r) { r.samples[0].logprobs[0] *= -1; }},
      {"log-probs all zero", Fate::kConvicted,
       [](W, L, R r) { std::fill_n(r.samples[0].logprobs.begin(), 9, 0.0f); }},
      {"log-probs of another sample", Fate::kConvicted,
       [](W, L, R r) { r.samples[0].logprobs = r.samples[1].logprobs; }},
      {"one ulp of an entropy", Fate::kConvicted,
       [](W, L, R r) { r.samples[0].entropies[0] = next_up(r.samples[0].entropies[0]); }},
      {"another token", Fate::kConvicted, [](W, L, R r) { draw_other(r.samples[0], 3); }},
      {"another last token", Fate::kConvicted,
       [](W, L, R r) { draw_other(r.samples[0], r.samples[0].tokens.size() - 1); }},
      {"two tokens exchanged", Fate::kConvicted,
       [](W, L, R r) {
         std::swap(r.samples[2].tokens[0], r.samples[2].tokens[4]);
         keep_all(r.samples[2]);
       }},
      {"tokens reversed", Fate::kConvicted,
       [](W, L, R r) {
         std::reverse(r.samples[0].tokens.begin(), r.samples[0].tokens.end());
         keep_all(r.samples[0]);
       }},
      {"a sample twice", Fate::kConvicted, [](W, L, R r) { r.samples[1] = r.samples[0]; }},
      {"samples in another order", Fate::kConvicted,
       [](W, L, R r) { std::swap(r.samples[0], r.samples[1]); }},
      {"one sample for all", Fate::kConvicted,
       [](W, L, R r) {
         for (Sample& s : r.samples) s = r.samples.back();
       }},
      {"another kept id", Fate::kConvicted, [](W, L, R r) { keep_other(r.samples[0]); }},
      {"a larger kept set", Fate::kConvicted, [](W, L, R r) { keep_all(r.samples[0]); }},
      {"a smaller kept set", Fate::kConvicted,
       [](W, L, R r) {
         Sample& s = r.samples[0];
         s.kept_ids.erase(s.kept_ids.begin() + (s.kept_ids[0] == s.tokens[0] ? 1 : 0));
         for (size_t t = 1; t < s.kept_offsets.size(); ++t) --s.kept_offsets[t];
       }},
      {"another expert", Fate::kConvicted,
       [](W w, L, R r) { choose_other(r.samples[0].experts, w.fleet.policy->config().router); }},
      {"another expert of the prompt", Fate::kConvicted,
       [](W w, L, R r) {
         choose_other(r.samples[1].prompt_experts, w.fleet.policy->config().router);
       }},
      {"another confidence of the router", Fate::kConvicted,
       [](W, L, R r) { r.samples[1].router_confidence.back() ^= 1; }},
      {"a cherry-picked sample", Fate::kConvicted,
       [](W w, L lease, R r) {  // the likeliest of 20 others
         GenerationRequest request = lease.request;
         request.first_sample += 100;
         request.samples = 20;
         const auto sum = [](const Sample& s) {
           double total = 0;
           for (const float p : s.logprobs) total += p;
           return total;
         };
         std::vector<Sample> all = w.drawn(request);
         r.samples[0] =
             *std::max_element(all.begin(), all.end(),
                               [&](const Sample& a, const Sample& b) { return sum(a) < sum(b); });
       }},
      {"stale weights under the new name", Fate::kConvicted,
       [](W w, L lease, R r) { r.samples = w.drawn(lease.request, w.old); }},
      {"weights rounded to bfloat16", Fate::kConvicted,
       [](W w, L lease, R r) { r.samples = w.drawn(lease.request, w.rounded->weights()); }},
      other("another seed", [](GenerationRequest& r) { ++r.seed; }),
      other("results of the step before", [](GenerationRequest& r) { --r.step; }),
      other("draws of another problem", [](GenerationRequest& r) { ++r.problem; }),
      other("another prompt", [](GenerationRequest& r) { r.prompt[0] ^= 1; }),
      other("another temperature", [](GenerationRequest& r) { r.sampling.temperature = 0.9; }),
      other("a wider choice of tokens", [](GenerationRequest& r) { r.sampling.top_k = 6; }),
      // What needs no forward pass to be seen.
      {"stale weights by their name", Fate::kRefused,
       [](W w, L lease, R r) {
         r.weights = w.old->sha256();
         r.samples = w.drawn(lease.request, w.old);
       }},
      {"weights of the future", Fate::kRefused,
       [](W, L, R r) { r.weights = std::string(64, 'f'); }},
      {"a sample too few", Fate::kRefused, [](W, L, R r) { r.samples.pop_back(); }},
      {"a sample too many", Fate::kRefused,
       [](W, L, R r) { r.samples.push_back(r.samples.back()); }},
      {"a truncated completion", Fate::kRefused,
       [shape](W w, L, R r) { cut(r.samples[0], shape(w).first, shape(w).second); }},
      {"an extended completion", Fate::kRefused,
       [shape](W w, L, R r) { extend(r.samples[0], shape(w).first, shape(w).second); }},
      {"a token outside the vocabulary", Fate::kRefused,
       [](W, L, R r) { r.samples[0].tokens[0] = 5000; }},
      {"a log-prob that is no number", Fate::kRefused,
       [](W, L, R r) { r.samples[0].logprobs[0] = NAN; }},
      {"an entropy that is not finite", Fate::kRefused,
       [](W, L, R r) { r.samples[0].entropies[0] = INFINITY; }},
      {"a log-prob too few", Fate::kRefused, [](W, L, R r) { r.samples[0].logprobs.pop_back(); }},
      {"no kept sets", Fate::kRefused,
       [](W, L, R r) {
         r.samples[0].kept_ids.clear();
         r.samples[0].kept_offsets.clear();
       }},
      {"a kept id outside the vocabulary", Fate::kRefused,
       [](W, L, R r) { r.samples[0].kept_ids[0] = -1; }},
      {"a kept set without its token", Fate::kRefused,
       [](W, L, R r) {
         Sample& s = r.samples[0];
         const auto own = std::find(s.kept_ids.begin(), s.kept_ids.end(), s.tokens[0]);
         *own = own == s.kept_ids.begin() ? *own - 1 : own[-1];
       }},
      {"a kept set that holds an id twice", Fate::kRefused,
       [](W, L, R r) { r.samples[0].kept_ids[1] = r.samples[0].kept_ids[0]; }},
      {"a kept id of one token given to the next", Fate::kRefused,
       [](W, L, R r) { --r.samples[0].kept_offsets[2]; }},
      {"no experts", Fate::kRefused, [](W, L, R r) { r.samples[0].experts.clear(); }},
      {"no experts of the prompt", Fate::kRefused,
       [](W, L, R r) { r.samples[0].prompt_experts.clear(); }},
      {"an expert too many for the prompt", Fate::kRefused,
       [](W, L, R r) { r.samples[1].prompt_experts.push_back(0); }},
      {"an expert that the model has not", Fate::kRefused,
       [](W w, L, R r) {
         r.samples[0].experts[3] = static_cast<uint8_t>(w.fleet.policy->config().router.experts);
       }},
      {"an expert twice for a row of the prompt", Fate::kRefused,
       [](W, L, R r) { r.samples[0].prompt_experts[1] = r.samples[0].prompt_experts[0]; }},
      {"a result of another lease", Fate::kRefused, [](W, L, R r) { ++r.lease; }},
  };
  return out;
}

std::vector<GenerationRequest> work_to_lie_about() {
  auto wanted = requests(3, 3, 9, 5);
  for (GenerationRequest& request : wanted) request.sampling.top_k = 5;
  return wanted;
}

TEST_CASE("49 kinds of lie: the liar is shut out or refused, its work is made again") {
  const std::vector<Lie> all = lies();
  CHECK(all.size() == 49);
  for (const Lie& lie : all) {
    CAPTURE(lie.name);
    FleetConfig config;
    config.audit_rate = 1;
    World world(config);
    Fleet& fleet = world.fleet;
    auto liar = fleet.options("liar");
    liar.tamper = [&](const Lease& lease, Result& result) { lie.tell(world, lease, result); };
    fleet.start(liar);
    const auto wanted = work_to_lie_about();
    std::vector<std::vector<Sample>> found;
    std::thread training([&] { found = fleet.sampler->generate(wanted); });
    const auto caught = [&] {
      const Json status = fleet.sampler->coordinator().status();
      return lie.fate == Fate::kConvicted ? status["quarantined"].contains("liar")
                                          : status["counts"]["malformed"] > 0;
    };
    for (int i = 0; i < 4000 && !caught(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(caught());
    fleet.start(fleet.options("honest"));
    training.join();
    check_equal(found, fleet.expected(wanted));
    const Json status = fleet.sampler->coordinator().status();
    CHECK_FALSE(status["quarantined"].contains("honest"));
    CHECK(status["quarantined"].contains("liar") == (lie.fate == Fate::kConvicted));
    CHECK(std::filesystem::exists(fleet.folder.path / "fleet" / "evidence" / "000000.json") ==
          (lie.fate == Fate::kConvicted));
  }
}

TEST_CASE("what is refused by its shape is refused without any audit too") {
  for (const Lie& lie : lies()) {
    if (lie.fate != Fate::kRefused) continue;
    CAPTURE(lie.name);
    FleetConfig config;
    config.audit_rate = 0;
    World world(config);
    auto liar = world.fleet.options("liar");
    liar.tamper = [&](const Lease& lease, Result& result) { lie.tell(world, lease, result); };
    world.fleet.start(liar);
    const auto wanted = work_to_lie_about();
    std::vector<std::vector<Sample>> found;
    std::thread training([&] { found = world.fleet.sampler->generate(wanted); });
    const auto malformed = [&]() -> int64_t {
      return world.fleet.sampler->coordinator().status()["counts"]["malformed"];
    };
    for (int i = 0; i < 4000 && malformed() == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(malformed() > 0);
    world.fleet.start(world.fleet.options("honest"));
    training.join();
    check_equal(found, world.fleet.expected(wanted));
  }
}

}  // namespace
}  // namespace zeroth::fleet::test
