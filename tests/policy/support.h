// Shared by the tests of policy/: fixture models, packed forwards, bit comparisons, temporary
// folders.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/rng.h"
#include "model/formats/checkpoint.h"
#include "policy/packing.h"
#include "policy/policy.h"
#include "tests/model/support.h"

namespace zeroth::test {

inline std::vector<std::vector<TokenId>> fixture_sequences(const std::string& family) {
  std::vector<std::vector<TokenId>> out;
  const Json expected = read_json_file(fixture(family) / "expected.json");
  for (const Json& row : expected["sequences"]) {
    out.push_back(row["ids"].get<std::vector<TokenId>>());
  }
  return out;
}

struct NamedModel {
  std::string name;
  std::unique_ptr<Policy> policy;
};

// A random model from a fixture's config with some keys changed; weights large enough that every
// part matters.
inline NamedModel variant(const std::string& name, const std::string& family, const Json& changes) {
  Json json = changed_config(family, changes);
  if (!changes.contains("initializer_range")) json["initializer_range"] = 0.3;
  std::unique_ptr<Policy> policy = Policy::init(PolicyConfig::from_json(json, name), 7);
  // Norms and biases start as ones and zeros; move them so that a part which is left out shows.
  Rng rng(11, 0);
  Parameters& parameters = policy->parameters();
  for (const ParameterInfo& info : parameters.infos()) {
    if (info.shape.size() > 1 && info.role != Role::kBias) continue;
    for (float& w : parameters.view(info)) w += static_cast<float>(0.2 * rng.normal());
  }
  policy->publish(0);
  return {name, std::move(policy)};
}

// The fixtures, and what they leave out.
inline std::vector<NamedModel> all_models() {
  std::vector<NamedModel> out;
  for (const std::string& family : families()) {
    out.push_back({family, Policy::load(fixture(family))});
    const Json variants = cases(family, "variants");
    for (const auto& [name, changes] : variants.items()) {
      out.push_back(variant(name, family, changes));
    }
  }
  return out;
}

inline std::span<const float> rows(const std::vector<float>& hidden, int64_t width, int64_t first,
                                   int64_t n) {
  return std::span(hidden).subspan(first * width, n * width);
}

// Hidden rows of a packed batch.
inline std::vector<float> hidden_of(const Policy& policy, const PackedBatch& batch,
                                    Activations* save = nullptr) {
  KvCache cache(policy.config(), batch.pages());
  std::vector<float> hidden(batch.rows() * policy.config().width);
  policy.forward(batch.view(), cache, hidden.data(), save);
  return hidden;
}

// Hidden rows of one sequence on its own.
inline std::vector<float> hidden_of(const Weights& weights, std::span<const TokenId> tokens) {
  PackedBatch batch;
  batch.add(tokens);
  batch.finish();
  KvCache cache(weights.config(), batch.pages());
  std::vector<float> hidden(batch.rows() * weights.config().width);
  weights.forward(batch.view(), cache, hidden.data());
  return hidden;
}
inline std::vector<float> hidden_of(const Policy& policy, std::span<const TokenId> tokens) {
  return hidden_of(*policy.weights(), tokens);
}

// Reads every parameter in pieces of a few rows, which must be what `parameters` holds.
inline void check_rows(const WeightSource& source, const Parameters& parameters) {
  for (size_t i = 0; i < parameters.infos().size(); ++i) {
    const ParameterInfo& info = parameters.infos()[i];
    CAPTURE(info.name);
    const std::span<const float> all = parameters.view(info);
    const int64_t row = info.shape.size() > 1 ? info.shape[1] : 1;
    for (int64_t first = 0; first < info.count; first += 5 * row) {
      std::vector<float> piece(std::min(5 * row, info.count - first));
      source.read(i, first, piece);
      CHECK(same_bits(piece, all.subspan(first, piece.size())));
    }
  }
}

}  // namespace zeroth::test
