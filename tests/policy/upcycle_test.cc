#include "model/formats/upcycle.h"

#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

ModelValues dense_weights(const std::string& family) { return load_values(fixture(family)); }

// The upcycled model as a user gets it: through a folder.
std::unique_ptr<Policy> upcycled(const ModelValues& dense, const UpcycleOptions& options) {
  TempDir dir;
  const ModelValues sparse = upcycle(dense, options);
  write_checkpoint(dir.path(), sparse.config, sparse.parameters, {});
  return Policy::load(dir.path());
}

double largest_gap(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double gap = 0;
  for (size_t i = 0; i < a.size(); ++i) gap = std::max<double>(gap, std::abs(a[i] - b[i]));
  return gap;
}

std::string refusal(const std::string& family, const Json& changes) {
  Json json = read_json_file(fixture(family) / "config.json");
  for (const auto& [key, value] : changes.items()) json[key] = value;
  const PolicyConfig config = PolicyConfig::from_json(json, family);
  const auto policy = Policy::init(config, 1);
  return error_of([&] { upcycle({config, std::move(policy->parameters())}, {}); });
}

}  // namespace

TEST_SUITE("upcycle") {
  TEST_CASE("one expert a token: the dense model's bits; more: its values") {
    for (const std::string family : {"llama", "qwen2", "qwen3"}) {
      CAPTURE(family);
      const ModelValues dense = dense_weights(family);
      const auto tokens = fixture_sequences(family).front();
      const std::vector<float> expected = hidden_of(*Policy::load(fixture(family)), tokens);
      const auto single = upcycled(dense, {.experts = 4, .top_k = 1});
      CHECK(single->config().moe_layers() == dense.config.layers);
      CHECK(same_bits(hidden_of(*single, tokens), expected));
      for (const int k : {2, 3, 4}) {
        const auto several = upcycled(dense, {.experts = 4, .top_k = k});
        const std::vector<float> hidden = hidden_of(*several, tokens);
        CHECK(largest_gap(hidden, expected) < 1e-5);  // behind all layers and the final norm
        CHECK(largest_gap(hidden, expected) > 0);
      }
    }
  }

  TEST_CASE("tokens spread over the experts") {
    const auto policy =
        upcycled(dense_weights("qwen3"), {.experts = 4, .top_k = 1, .router_std = 1});
    PackedBatch batch;
    batch.add(fixture_sequences("qwen3").front());
    batch.finish();
    KvCache cache(policy->config(), batch.pages());
    std::vector<float> hidden(batch.rows() * policy->config().width);
    RouterStats stats;
    policy->forward(batch.view(), cache, hidden.data(), nullptr, &stats);
    int met = 0;
    for (const int64_t load : stats.load[0]) met += load > 0;
    CHECK(met > 1);
  }

  TEST_CASE("noise moves every expert by its share, router and noise are named by the seed") {
    const ModelValues dense = dense_weights("llama");
    const ModelValues exact = upcycle(dense, {.experts = 3, .top_k = 2});
    const ModelValues noisy = upcycle(dense, {.experts = 3, .top_k = 2, .noise = 0.1});
    const ModelValues other = upcycle(dense, {.experts = 3, .top_k = 2, .noise = 0.1, .seed = 1});
    for (const ParameterInfo& info : exact.parameters.infos()) {
      const auto a = exact.parameters.view(info), b = noisy.parameters.view(info),
                 c = other.parameters.view(info);
      const bool expert = info.name.find(".experts.") != std::string::npos;
      const bool router = info.name.ends_with("moe.gate.weight");
      CAPTURE(info.name);
      CHECK(same_bits(a, b) == !expert);
      CHECK(same_bits(b, c) == !(expert || router));
      if (!expert) continue;
      double value = 0, moved = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        value += double{a[i]} * a[i];
        moved += std::pow(double{b[i]} - a[i], 2);
      }
      CHECK(std::sqrt(moved / value) == doctest::Approx(0.1).epsilon(0.1));
    }
  }

  TEST_CASE("models that cannot be upcycled are refused with the reason") {
    CHECK(contains(error_of([] { upcycle(dense_weights("olmoe"), {}); }), "give a dense model"));
    CHECK(contains(error_of([] { upcycle(dense_weights("qwen3"), {.experts = 2, .top_k = 3}); }),
                   "at most as many"));
    CHECK(contains(refusal("llama", {{"mlp_bias", true}}), "mlp_bias"));
    CHECK(contains(refusal("llama", {{"attention_bias", true}}), "attention biases"));
    CHECK(contains(
        refusal("qwen3",
                {{"use_sliding_window", true}, {"sliding_window", 8}, {"max_window_layers", 1}}),
        "sliding windows"));
  }
}
