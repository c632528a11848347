// Absorbed latents: what the cache holds of them, and that they are the same attention.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/temporary_folder.h"
#include "policy/weights_image.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

const Json kAbsorbed = {{"latent_attention", "absorbed"}};

double largest(const std::vector<float>& x) {
  double most = 0;
  for (const float v : x) most = std::max(most, std::abs(double{v}));
  return most;
}

}  // namespace

TEST_SUITE("latent cache") {
  TEST_CASE("a token takes kv_lora_rank + qk_rope_head_dim values a layer") {
    for (const std::string family : {"deepseek_v2", "deepseek_v3"}) {
      CAPTURE(family);
      const PolicyConfig expanded = variant("expanded", family, Json::object()).policy->config();
      const PolicyConfig absorbed = variant("absorbed", family, kAbsorbed).policy->config();
      const LatentConfig& a = absorbed.latent;
      const int64_t page = int64_t{16} * absorbed.layers * static_cast<int64_t>(sizeof(float));
      CHECK(KvCache(absorbed, 5).bytes() == 5 * page * (a.kv_rank + a.rope_dim));
      CHECK(KvCache(expanded, 5).bytes() ==
            5 * page * expanded.heads * (a.nope_dim + a.rope_dim + a.v_dim));
      CHECK(absorbed.cache_floats() == a.kv_rank + a.rope_dim);
      CHECK(absorbed.attention_scale() == expanded.attention_scale());
    }
  }

  TEST_CASE("both forms are one model: hidden rows agree but for the order of additions") {
    for (const std::string family : {"deepseek_v2", "deepseek_v3"}) {
      for (const bool chunked : {false, true}) {
        CAPTURE(family);
        CAPTURE(chunked);
        Json keys = Json::object();
        if (chunked) keys["dual_chunk_attention_config"] = {{"chunk_size", 21}, {"local_size", 5}};
        // Not so wide that rounding chooses other experts.
        keys["initializer_range"] = 0.1;
        const auto expanded = variant("expanded", family, keys);
        keys.update(kAbsorbed);
        const auto absorbed = variant("absorbed", family, keys);
        std::vector<TokenId> tokens(90);
        for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % 120);
        const auto a = hidden_of(*expanded.policy, tokens), b = hidden_of(*absorbed.policy, tokens);
        CHECK(!same_bits(a, b));
        double gap = 0;
        for (size_t i = 0; i < a.size(); ++i) gap = std::max(gap, std::abs(double{a[i]} - b[i]));
        CHECK(gap < 2e-5 * largest(a));
      }
    }
  }

  TEST_CASE("published values are those of the parameters, whichever form packs them") {
    for (const auto element : {kernels::Element::kFloat32, kernels::Element::kBfloat16}) {
      Json json = changed_config("deepseek_v3", Json::object());
      const auto expanded = Policy::init(PolicyConfig::from_json(json, "expanded"), 3, element);
      json.update(kAbsorbed);
      const auto absorbed = Policy::init(PolicyConfig::from_json(json, "absorbed"), 3, element);
      CHECK(expanded->weights()->sha256() == absorbed->weights()->sha256());
      // Through the image that workers get, and back.
      const auto layout = std::make_shared<const ImageLayout>(absorbed->config(), element);
      const WeightsImage image(layout, *absorbed->weights());
      CHECK(image.sha256() == expanded->weights()->sha256());
      const WeightsPtr made = WeightsMaker(absorbed->config(), element).make(image, 0);
      const std::vector<TokenId> tokens = {1, 5, 9, 2, 7, 3, 3, 8, 1, 4, 2, 2, 6, 5, 1, 1, 9, 8, 7};
      CHECK(same_bits(hidden_of(*made, tokens), hidden_of(*absorbed, tokens)));
    }
  }

  TEST_CASE("the form is kept with the model") {
    const auto policy = variant("absorbed", "deepseek_v3", kAbsorbed).policy;
    TemporaryFolder folder;
    policy->save(folder.path());
    CHECK(Policy::load(folder.path())->config().absorbed());
  }
}
