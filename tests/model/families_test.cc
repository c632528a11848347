// What every family's cases.json says about reading its config.json (tests/data/parity/README.md).
#include "model/families.h"

#include <doctest/doctest.h>

#include <cmath>

#include "model/config.h"
#include "tests/model/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

PolicyConfig parse(const Json& json) { return PolicyConfig::from_json(json, "config.json"); }

// All that a config decides but for its notes and the file itself.
std::string features(const PolicyConfig& c) {
  const kernels::RouterConfig& r = c.router;
  const RopeConfig& p = c.rope;
  const Json all = {
      {"sizes", {c.vocab_size, c.width, c.layers, c.heads, c.kv_heads, c.head_dim, c.mlp_width}},
      {"position", {c.max_position, c.window, c.chunk_len, c.chunk_size, c.rope_dim()}},
      {"rope", {static_cast<int>(p.type), p.theta, p.interleaved, p.factor, p.softmax_scale}},
      {"scale", {c.norm_eps, c.initializer_range, c.clip_qkv, c.attention_scale()}},
      {"flags", {c.tied_embeddings, c.qkv_bias, c.output_bias, c.mlp_bias, c.shared_gate}},
      {"norms", {static_cast<int>(c.qk_norm), c.norm_before, c.norm_behind, c.norm_plus_one}},
      {"local",
       {c.local_rope ? c.local_rope->theta : 0, std::string(c.rotated.begin(), c.rotated.end())}},
      {"gate",
       {static_cast<int>(c.gate.kind), c.gate.alpha, c.gate.limit, c.logit_cap,
        c.scaled_embedding}},
      {"experts", {r.experts, r.top_k, r.normalize, r.sigmoid, r.scale, r.groups, r.top_groups}},
      {"widths", {c.expert_width, c.shared_width, std::string(c.sparse.begin(), c.sparse.end())}},
      {"delta",
       {std::string(c.recurrent.begin(), c.recurrent.end()), c.delta.key_heads, c.delta.value_heads,
        c.delta.key_dim, c.delta.value_dim, c.delta_taps, c.attention_gate}},
      {"extra", {c.extra_layers, c.selection_bias, c.aux_coef, c.latent.kv_rank, c.latent.q_rank}}};
  return all.dump();
}

void erase(Json& json, const std::string& key) {
  json.erase(key);
  if (key != "rope_theta" && key != "partial_rotary_factor") return;
  Json& rope = json["rope_parameters"];
  rope.erase(key);
  for (auto& of_layers : rope) {
    if (of_layers.is_object()) of_layers.erase(key);
  }
}

}  // namespace

TEST_CASE("every family has a fixture, and every fixture is of a family") {
  std::vector<std::string> known;
  for (const Family family : known_families()) known.push_back(to_string(family));
  std::sort(known.begin(), known.end());
  CHECK(known == families());
}

TEST_CASE("every family: an absent key means what its config class says") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    const Json absent = cases(family, "absent");
    for (const char* key : {"max_position_embeddings", "rms_norm_eps", "rope_theta"}) {
      CHECK(absent.contains(key));
    }
    for (const auto& [key, value] : absent.items()) {
      CAPTURE(key);
      Json without = changed_config(family, {}), with = without;
      erase(without, key);
      erase(with, key);
      with[key] = value;
      CHECK(features(parse(without)) == features(parse(with)));
    }
  }
}

TEST_CASE("every family: what cannot be run is refused by name") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    CHECK(!cases(family, "refused").empty());
    for (const Json& row : cases(family, "refused")) {
      CAPTURE(row.dump());
      const Json json = changed_config(family, row["change"]);
      CHECK(contains(error_of([&] { parse(json); }), row["names"].get<std::string>()));
    }
  }
}
