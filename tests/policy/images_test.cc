// Image codes beside text: layout, guidance, gradients.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "model/formats/safetensors.h"
#include "model/image_codes.h"
#include "policy/embedding_gradient.h"
#include "policy/scoring.h"
#include "tests/kernels/far_device.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

constexpr int kText = 11, kCodes = 5, kWidth = 24;
constexpr TokenId kBegin = 3, kPad = 1;

Json image_config(double guidance) {
  return {
      {"architectures", {"MultiModalityCausalLM"}},
      {"model_type", "multi_modality"},
      {"dtype", "float32"},
      {"gen_vision_config",
       {{"cls", "VQ-16"}, {"params", {{"image_token_size", kCodes}, {"n_embed", 6}}}}},
      {"gen_aligner_config",
       {{"cls", "MlpProjector"},
        {"params",
         {{"depth", 2}, {"input_dim", 6}, {"n_embed", kWidth}, {"projector_type", "mlp_gelu"}}}}},
      {"gen_head_config",
       {{"cls", "vision_head"},
        {"params",
         {{"n_embed", kWidth}, {"image_token_embed", 20}, {"image_token_size", kCodes}}}}},
      {"image_generation",
       {{"begin_token_id", kBegin},
        {"pad_token_id", kPad},
        {"rows", 2},
        {"columns", 3},
        {"guidance", guidance}}},
      {"language_config",
       {{"model_type", "llama"},
        {"hidden_size", kWidth},
        {"intermediate_size", 40},
        {"num_hidden_layers", 2},
        {"num_attention_heads", 3},
        {"num_key_value_heads", 3},
        {"initializer_range", 0.3},
        {"max_position_embeddings", 64},
        {"vocab_size", kText}}}};
}

std::unique_ptr<Policy> image_policy(double guidance,
                                     kernels::Element element = kernels::Element::kFloat32) {
  auto policy = Policy::init(PolicyConfig::from_json(image_config(guidance), "images"), 7, element);
  Rng rng(11, 0);
  Parameters& parameters = policy->parameters();
  for (const ParameterInfo& info : parameters.infos()) {
    if (info.shape.size() > 1 && info.role != Role::kBias) continue;
    for (float& w : parameters.view(info)) w += static_cast<float>(0.2 * rng.normal());
  }
  policy->publish(0);
  return policy;
}

using Ids = std::vector<TokenId>;
constexpr TokenId code(int c) { return kText + c; }

const Ids kPrompt = {2, 5, 7, 6, 9, 4, 8, 8, 10, 6, 5, 5, 7, 9, 0, 6, 4, 5, kBegin};
const std::vector<Ids> kImages = {{code(0), code(3), code(1), code(4), code(4), code(2)},
                                  {code(2), code(2), code(0), code(1), code(3), code(3)}};
// Text, and then an image in the same sequence: both heads.
const Ids kMixed = {2, 6, 9, 4, kBegin, code(1), code(1), code(4)};

TargetBatch groups(bool apart) {
  TargetBatch batch;
  batch.packed.begin_part();
  const TokenId last = kPrompt.back();
  std::vector<Ids> children;
  for (const Ids& image : kImages) {
    Ids& child = children.emplace_back(Ids{last});
    child.insert(child.end(), image.begin(), image.end() - 1);
    batch.target.insert(batch.target.end(), image.begin(), image.end());
  }
  batch.packed.add_group(std::span(kPrompt).first(kPrompt.size() - 1),
                         std::vector<std::span<const TokenId>>(children.begin(), children.end()));
  if (apart) batch.packed.begin_part();
  batch.packed.add(std::span(kMixed).first(kMixed.size() - 1));
  batch.target.insert(batch.target.end(), kMixed.begin() + 1, kMixed.end());
  batch.packed.finish();
  for (size_t i = 0; i < batch.target.size(); ++i)
    batch.temperature.push_back(i % 3 == 0 ? 0.7f : 1.0f);
  return batch;
}

std::vector<float> weights_of(size_t n) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 0.3f + 0.1f * static_cast<float>(i % 5);
  return out;
}

struct Scores {
  std::vector<float> logprobs, entropies;
};
Scores scores(const Weights& weights, const TargetBatch& batch) {
  Scorer scorer;
  scorer.forward(weights, batch);
  Scores out{std::vector<float>(batch.target.size()), std::vector<float>(batch.target.size())};
  scorer.score(weights, batch, batch.responses(), out.logprobs.data(), out.entropies.data());
  return out;
}

// Adds the gradient of <weights_of, logprobs> - <weights_of, entropies> / 2.
void add_gradient(const Policy& policy, const TargetBatch& batch, std::span<float> grads,
                  Activations::Mode mode = Activations::Mode::kFull) {
  Activations saved(mode);
  Scorer scorer;
  scorer.forward(*policy.weights(), batch,
                 {.save = &saved, .save_from = policy.first_trainable_layer()});
  const int64_t row = hidden_width(policy.config());
  const size_t n = batch.target.size();
  const std::vector<float> dlogprob = weights_of(n);
  std::vector<float> dentropy = weights_of(n);
  for (float& d : dentropy) d *= -0.5f;
  std::vector<float> dresponses(n * row), dhidden(batch.packed.rows() * row, 0.0f);
  policy.logprobs_backward(scorer.response_hidden(), batch.responses(), batch.target.data(),
                           batch.temperature.data(), batch.kept, dlogprob.data(), dentropy.data(),
                           dresponses.data(), grads, batch.packed.response_parts());
  const float* from = dresponses.data();
  for (const auto& part : batch.packed.response_rows()) {
    std::copy_n(from, part.rows * row, dhidden.begin() + part.row * row);
    from += part.rows * row;
  }
  policy.backward(batch.packed.view(), scorer.cache(), saved, dhidden.data(), grads);
}

// One sequence alone as a batch.
TargetBatch alone(const Ids& ids) {
  TargetBatch batch;
  batch.packed.add(std::span(ids).first(ids.size() - 1));
  batch.target.assign(ids.begin() + 1, ids.end());
  batch.packed.finish();
  batch.temperature.assign(batch.target.size(), 1.0f);
  return batch;
}

std::string refused(const std::function<void(Json&)>& change) {
  Json json = image_config(2);
  change(json);
  return error_of([&] { PolicyConfig::from_json(json, "images"); });
}

}  // namespace

TEST_CASE("a checkpoint has Janus-Pro's tensors and comes back bit for bit") {
  const auto policy = image_policy(2);
  const TempDir dir;
  policy->save(dir.path());
  const SafetensorsFile file(dir.path() / "model.safetensors");
  std::set<std::string> names;
  for (const TensorEntry& entry : file.tensors()) names.insert(entry.name);
  for (const char* name :
       {"gen_embed.weight", "gen_aligner.layers.0.weight", "gen_aligner.layers.0.bias",
        "gen_aligner.layers.2.weight", "gen_aligner.layers.2.bias",
        "gen_head.output_mlp_projector.weight", "gen_head.output_mlp_projector.bias",
        "gen_head.vision_head.weight", "gen_head.vision_head.bias",
        "language_model.model.embed_tokens.weight", "language_model.lm_head.weight",
        "language_model.model.layers.1.self_attn.q_proj.weight"}) {
    CAPTURE(name);
    CHECK(names.contains(name));
  }
  CHECK(names.size() == policy->parameters().infos().size());
  const auto loaded = Policy::load(dir.path());
  CHECK(same_bits(loaded->parameters().values(), policy->parameters().values()));
  CHECK(image_codes(loaded->config()) == image_codes(policy->config()));
  CHECK(loaded->weights()->sha256() == policy->weights()->sha256());
  const TargetBatch batch = groups(true);
  CHECK(same_bits(scores(*loaded->weights(), batch).logprobs,
                  scores(*policy->weights(), batch).logprobs));
  CHECK(same_bits(scores(*load_weights(dir.path()), batch).logprobs,
                  scores(*policy->weights(), batch).logprobs));

  // Without the block it is the text model that it was before, and text has the same bits.
  Json json = read_json_file(dir.path() / "config.json");
  json.erase("image_generation");
  write_file_atomic(dir.path() / "config.json", json.dump());
  const WeightsPtr text = load_weights(dir.path());
  CHECK(text->config().vocab_size == kText);
  const std::vector<Ids> words = {{2, 5, 9, 4, 7, 6}};
  CHECK(score_sequences(*text, words) == score_sequences(*policy->weights(), words));
}

TEST_CASE("rows do not depend on what is packed beside them, guided or not") {
  for (const double guidance : {1.0, 3.5}) {
    CAPTURE(guidance);
    const auto policy = image_policy(guidance);
    const TargetBatch batch = groups(true);
    const std::vector<float> all = scores(*policy->weights(), batch).logprobs;
    std::vector<float> each;
    for (const Ids& image : kImages) {
      Ids ids = kPrompt;
      ids.insert(ids.end(), image.begin(), image.end());
      TargetBatch one = alone(ids);
      for (size_t i = 0; i < image.size(); ++i)
        one.temperature[kPrompt.size() - 1 + i] = batch.temperature[each.size() + i];
      const std::vector<float> own = scores(*policy->weights(), one).logprobs;
      each.insert(each.end(), own.end() - static_cast<std::ptrdiff_t>(image.size()), own.end());
    }
    TargetBatch last = alone(kMixed);
    std::copy(batch.temperature.end() - static_cast<std::ptrdiff_t>(last.target.size()),
              batch.temperature.end(), last.temperature.begin());
    const std::vector<float> own = scores(*policy->weights(), last).logprobs;
    each.insert(each.end(), own.begin(), own.end());
    CHECK(same_bits(all, each));
  }
}

TEST_CASE("guided log-probs are those of u + w (c - u)") {
  const auto guided = image_policy(3.5), plain = image_policy(1);
  REQUIRE(same_bits(guided->parameters().values(), plain->parameters().values()));
  // All log-probs of the code at each place of an image, by the model without guidance.
  const auto table = [&](const Ids& prompt) {
    std::vector<std::vector<double>> out;
    for (size_t at = 0; at < kImages[0].size(); ++at) {
      std::vector<double>& row = out.emplace_back();
      for (int c = 0; c < kCodes; ++c) {
        Ids ids = prompt;
        ids.insert(ids.end(), kImages[0].begin(), kImages[0].begin() + at);
        ids.push_back(code(c));
        row.push_back(score_sequences(*plain->weights(), std::vector<Ids>{ids})[0].back());
      }
    }
    return out;
  };
  Ids padded = kPrompt;
  std::fill(padded.begin() + 1, padded.end() - 1, kPad);
  const auto with = table(kPrompt), without = table(padded);
  Ids whole = kPrompt;
  whole.insert(whole.end(), kImages[0].begin(), kImages[0].end());
  const std::vector<float> found = score_sequences(*guided->weights(), std::vector<Ids>{whole})[0];
  double moved = 0;
  for (size_t at = 0; at < with.size(); ++at) {
    std::vector<double> logits;
    double sum = 0;
    for (int c = 0; c < kCodes; ++c) {
      logits.push_back(without[at][c] + 3.5 * (with[at][c] - without[at][c]));
      sum += std::exp(logits.back());
    }
    const int drawn = kImages[0][at] - kText;
    const double expected = logits[drawn] - std::log(sum);
    CHECK(found[kPrompt.size() - 1 + at] == doctest::Approx(expected).epsilon(2e-5));
    moved += std::fabs(expected - with[at][drawn]);
  }
  CHECK(moved > 0.1);  // guidance does something here
}

TEST_CASE("gradients of every tensor, through both branches") {
  for (const double guidance : {1.0, 2.5}) {
    CAPTURE(guidance);
    const auto policy = image_policy(guidance);
    const TargetBatch batch = groups(true);
    std::vector<float> grads(policy->parameters().values().size());
    add_gradient(*policy, batch, grads);
    std::vector<float> again(grads.size());
    add_gradient(*policy, batch, again, Activations::Mode::kCheckpoint);
    CHECK(same_bits(grads, again));
    const auto loss = [&] {
      const Scores s = scores(*policy->weights(), batch);
      const std::vector<float> w = weights_of(s.logprobs.size());
      double sum = 0;
      for (size_t i = 0; i < w.size(); ++i)
        sum += double{w[i]} * s.logprobs[i] - 0.5 * double{w[i]} * s.entropies[i];
      return sum;
    };
    for (const ParameterInfo& info : policy->parameters().infos()) {
      const std::span<float> values = policy->parameters().view(info);
      const std::vector<float> before(values.begin(), values.end());
      const auto grad = std::span<const float>(grads).subspan(info.offset, info.count);
      double norm = 0, size = 0, along = 0;
      Rng rng(5, static_cast<uint32_t>(info.offset));
      std::vector<double> direction(values.size());
      for (size_t i = 0; i < values.size(); ++i) {
        direction[i] = rng.normal();
        size += direction[i] * direction[i];
        norm += double{grad[i]} * grad[i];
      }
      norm = std::sqrt(norm);
      CHECK(norm > 0);
      for (size_t i = 0; i < values.size(); ++i) {
        direction[i] = 0.6 * grad[i] / norm + 0.8 * direction[i] / std::sqrt(size);
        along += grad[i] * direction[i];
      }
      const double step = 5e-3;
      const auto at = [&](double move) {
        for (size_t i = 0; i < values.size(); ++i)
          values[i] = static_cast<float>(before[i] + move * direction[i]);
        policy->publish(0);
        return loss();
      };
      const double difference = (at(step) - at(-step)) / (2 * step);
      std::copy(before.begin(), before.end(), values.begin());
      policy->publish(0);
      INFO(info.name << " gradient norm " << norm << " along " << along << " measured "
                     << difference);
      CHECK(std::fabs(difference - along) <= 0.01 * norm + 0.01);
    }
  }
}

TEST_CASE("what a part adds to the gradient does not depend on the call it is in") {
  const auto policy = image_policy(2.5);
  std::vector<float> together(policy->parameters().values().size()), apart(together.size());
  const TargetBatch both = groups(true);
  add_gradient(*policy, both, together);
  // The two parts by calls of their own; weights_of counts from the call's first response.
  const std::vector<float> all = weights_of(both.target.size());
  for (const bool second : {false, true}) {
    TargetBatch one;
    const size_t images = 2 * kImages[0].size();
    if (second) {
      one = alone(kMixed);
    } else {
      const Ids first = {kPrompt.back(), kImages[0][0], kImages[0][1],
                         kImages[0][2],  kImages[0][3], kImages[0][4]};
      const Ids next = {kPrompt.back(), kImages[1][0], kImages[1][1],
                        kImages[1][2],  kImages[1][3], kImages[1][4]};
      one.packed.add_group(std::span(kPrompt).first(kPrompt.size() - 1),
                           std::vector<std::span<const TokenId>>{first, next});
      one.packed.finish();
      one.target.assign(both.target.begin(), both.target.begin() + images);
    }
    const size_t from = second ? images : 0;
    one.temperature.assign(both.temperature.begin() + from,
                           both.temperature.begin() + from + one.target.size());
    Activations saved;
    Scorer scorer;
    scorer.forward(*policy->weights(), one, {.save = &saved, .save_from = -1});
    const int64_t row = hidden_width(policy->config());
    std::vector<float> dlogprob(all.begin() + from, all.begin() + from + one.target.size());
    std::vector<float> dentropy = dlogprob;
    for (float& d : dentropy) d *= -0.5f;
    std::vector<float> dhidden(one.packed.rows() * row, 0.0f);
    policy->logprobs_backward(scorer.response_hidden(), one.responses(), one.target.data(),
                              one.temperature.data(), {}, dlogprob.data(), dentropy.data(),
                              dhidden.data() + one.packed.response_rows()[0].row * row, apart);
    policy->backward(one.packed.view(), scorer.cache(), saved, dhidden.data(), apart);
  }
  CHECK(same_bits(together, apart));
}

TEST_CASE("text and codes do not stand in each other's places") {
  const auto policy = image_policy(2);
  const auto score = [&](const Ids& ids) {
    return error_of([&] { score_sequences(*policy->weights(), std::vector<Ids>{ids}); });
  };
  CHECK(contains(score({2, 5, kBegin, 6, 4}), "token id 6 is text where an image code stands"));
  CHECK(contains(score({2, 5, code(3), code(1)}), "image code 3 stands where text does"));
  CHECK(contains(score({2, 5, kText + kCodes}), "outside the vocabulary of 16"));
  CHECK(score({2, 5, kBegin, code(3), code(1)}) == "");
}

TEST_CASE("values of the block that cannot be are refused with what, which and how") {
  CHECK(refused([](Json&) {}) == "");
  const auto own = [](const char* key, const Json& value) {
    return refused([&](Json& json) { json["image_generation"][key] = value; });
  };
  CHECK(contains(own("guidance", -1), "'guidance' is -1"));
  CHECK(contains(own("guidance", "strong"), "'guidance' is \"strong\""));
  CHECK(contains(own("begin_token_id", 11), "'begin_token_id' is 11"));
  CHECK(contains(own("pad_token_id", kBegin), "padding must not begin an image"));
  CHECK(contains(own("rows", 30), "must fit into max_position_embeddings = 64"));
  CHECK(contains(own("colums", 3), "'colums' is no key of it"));
  CHECK(contains(refused([](Json& json) { json["image_generation"].erase("columns"); }),
                 "'columns' is missing"));
  CHECK(contains(
      refused([](Json& json) { json["gen_head_config"]["params"]["image_token_size"] = 6; }),
      "use 5, that of gen_vision_config"));
  CHECK(contains(refused([](Json& json) { json["gen_aligner_config"]["params"]["depth"] = 3; }),
                 "'depth' is 3"));
  CHECK(contains(refused([](Json& json) {
                   json["gen_aligner_config"]["params"]["projector_type"] = "linear";
                 }),
                 "use mlp_gelu"));
  CHECK(contains(refused([](Json& json) { json.erase("gen_vision_config"); }), "image_token_size"));
  CHECK(contains(refused([](Json& json) { json["image_generation"] = true; }), "is true"));
  CHECK(contains(refused([](Json& json) {
                   Json text = json["language_config"];
                   text["image_generation"] = json["image_generation"];
                   json = text;
                 }),
                 "'image_generation' in the config of a text model"));
}

TEST_CASE(
    "on a device that the host cannot follow, and published as bfloat16, images have the same "
    "bits") {
  const TempDir dir;
  image_policy(2.5)->save(dir.path());
  const auto far = std::make_unique<kernels::FarOperators>(kernels::cpu_operators());
  for (const kernels::Element element : {kernels::Element::kFloat32, kernels::Element::kBfloat16}) {
    const auto left = [&](const kernels::Operators& ops) {
      const auto policy = Policy::load(dir.path(), element, ops);
      const TargetBatch batch = groups(true);
      const Scores of = scores(*policy->weights(), batch);
      Activations saved;
      Scorer scorer;
      scorer.forward(*policy->weights(), batch, {.save = &saved, .save_from = -1});
      const kernels::Device& device = ops.device();
      const int64_t row = hidden_width(policy->config()), n = batch.responses();
      const auto count = static_cast<int64_t>(policy->parameters().values().size());
      const kernels::Array<float> grads(device, count), dresponses(device, n * row);
      const kernels::Array<float> dhidden(device, batch.packed.rows() * row);
      kernels::clear(device, grads.data(), count);
      kernels::clear(device, dhidden.data(), batch.packed.rows() * row);
      const std::vector<float> w = weights_of(batch.target.size());
      const kernels::View<float> all{grads.data(), static_cast<size_t>(count)};
      policy->logprobs_backward(scorer.response_hidden(), n, batch.target.data(),
                                batch.temperature.data(), {}, w.data(), nullptr, dresponses.data(),
                                all, batch.packed.response_parts());
      int64_t from = 0;
      for (const auto& part : batch.packed.response_rows()) {
        ops.copy(dresponses.data() + from * row, dhidden.data() + part.row * row, part.rows * row);
        from += part.rows;
      }
      policy->backward(batch.packed.view(), scorer.cache(), saved, dhidden.data(), all);
      std::vector<float> out(static_cast<size_t>(count));
      kernels::copy_out(device, out.data(), grads.data(), count);
      out.insert(out.end(), of.logprobs.begin(), of.logprobs.end());
      out.insert(out.end(), of.entropies.begin(), of.entropies.end());
      return out;
    };
    CHECK(same_bits(left(kernels::cpu_operators()), left(*far)));
  }
  CHECK(far->device().arrays() == 0);
}
