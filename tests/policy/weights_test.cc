// Published weights are values: nobody writes what somebody reads.
#include "policy/weights.h"

#include <atomic>
#include <cmath>
#include <thread>

#include "core/sha256.h"
#include "policy/decoder.h"
#include "policy/policy.h"
#include "support.h"

namespace zeroth::test {
namespace {

const std::vector<TokenId> kTokens = {1, 5, 9, 2, 7, 3, 3, 8};

// Weights::sha256 by its definition, from the masters.
std::string hash_by_hand(const Parameters& parameters) {
  std::vector<std::string> lines;
  for (const ParameterInfo& info : parameters.infos()) {
    const std::span<const float> values = parameters.view(info);
    std::string shape;
    for (const int64_t n : info.shape) shape += "," + std::to_string(n);
    lines.push_back(
        info.name + " F32 [" + shape.substr(1) + "] " +
        sha256_hex({reinterpret_cast<const char*>(values.data()), values.size_bytes()}) + "\n");
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return sha256_hex(all);
}

void scale(Policy& policy, float by) {
  for (float& value : policy.parameters().values()) value *= by;
}

TEST_CASE("the SHA-256 of weights is that of their values, however they are packed") {
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    Policy& policy = *model.policy;
    const std::string hash = policy.weights()->sha256();
    CHECK(hash == hash_by_hand(policy.parameters()));
    CHECK(policy.publish(9)->sha256() == hash);
    const ParameterInfo& last = policy.parameters().infos().back();
    float& value = policy.parameters().view(last).back();
    value = std::nextafter(value, 10.0f);
    CHECK(policy.weights()->sha256() == hash);
    CHECK(policy.publish(10)->sha256() != hash);
  }
}

TEST_CASE("parameters are packed when they have arrived, and not before") {
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    Policy& policy = *model.policy;
    const std::string hash = policy.weights()->sha256();
    const std::span<float> values = policy.parameters().values();
    const std::vector<float> there(values.begin(), values.end());
    std::fill(values.begin(), values.end(), -7.5f);
    int64_t here = 0;
    const auto arrive = [&](int64_t end) {
      CHECK(end > here);
      REQUIRE(end <= static_cast<int64_t>(values.size()));
      std::copy(there.begin() + here, there.begin() + end, values.begin() + here);
      here = end;
    };
    CHECK(policy.publish(3, arrive)->sha256() == hash);
  }
}

TEST_CASE("a version that is held stays as it was when others are published") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
    const WeightsPtr first = policy->weights();
    const std::vector<float> before = hidden_of(*first, kTokens);
    const std::string hash = first->sha256();
    scale(*policy, 1.25f);
    const WeightsPtr second = policy->publish(1);
    const std::vector<float> after = hidden_of(*second, kTokens);
    scale(*policy, 1.25f);
    policy->publish(2);
    CHECK(same_bits(hidden_of(*first, kTokens), before));
    CHECK(same_bits(hidden_of(*second, kTokens), after));
    CHECK_FALSE(same_bits(before, after));
    CHECK(first->sha256() == hash);
    CHECK(first->version() == 0);
    CHECK(second->version() == 1);
    CHECK(first->id() != second->id());
  }
}

TEST_CASE("forward beside publish gives the bits of the version it holds") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_moe"));
  const WeightsPtr old = policy->weights();
  const std::vector<float> expected = hidden_of(*old, kTokens);
  std::atomic<bool> done{false};
  std::atomic<int> forwards{0}, wrong{0};
  std::thread reader([&] {
    while (!done || forwards < 3) {
      wrong += !same_bits(hidden_of(*old, kTokens), expected);
      ++forwards;
    }
  });
  for (int version = 1; version <= 20 || forwards < 3; ++version) {
    scale(*policy, 1.01f);
    policy->publish(version);
    // What a new reader gets is whole, too.
    CHECK(policy->weights()->version() == version);
  }
  done = true;
  reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("the policy and its masters may be gone") {
  std::unique_ptr<Policy> policy = Policy::load(fixture("deepseek_v3"));
  const std::vector<float> expected = hidden_of(*policy, kTokens);
  const WeightsPtr weights = policy->weights();
  policy = nullptr;
  CHECK(same_bits(hidden_of(*weights, kTokens), expected));
}

TEST_CASE("memory: one copy while nobody holds the last version, two when two are held") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("olmoe"));
  const auto block = [&] { return policy->weights()->impl().model.block.data().address(); };
  const char* const first = block();
  policy->publish(1);
  CHECK(block() == first);
  WeightsPtr held = policy->weights();
  CHECK(held->bytes() > 0);
  policy->publish(2);
  const char* const second = block();
  CHECK(second != first);
  held = policy->weights();  // now version 1 is nobody's, and version 2 is read
  policy->publish(3);
  CHECK(block() == first);
  held = nullptr;
  policy->publish(4);
  CHECK((block() == first || block() == second));
}

TEST_CASE("backward by weights that were not forward's is an error") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("llama"));
  PackedBatch batch;
  batch.add(kTokens);
  batch.finish();
  Activations saved;
  KvCache cache(policy->config(), batch.pages());
  std::vector<float> hidden(batch.rows() * policy->config().width);
  std::vector<float> grads(policy->parameters().values().size());
  policy->forward(batch.view(), cache, hidden.data(), &saved);
  policy->publish(0);
  const std::string error =
      error_of([&] { policy->backward(batch.view(), cache, saved, hidden.data(), grads); });
  CHECK(contains(error, "other weights"));
}

}  // namespace
}  // namespace zeroth::test
