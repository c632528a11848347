// Drafts by a checkpoint's own layer for multi-token prediction: the same samples by ==, and fewer
// calls where the layer knows what comes.
#include <doctest/doctest.h>

#include <map>

#include "core/error.h"
#include "core/rng.h"
#include "core/temporary_folder.h"
#include "model/formats/checkpoint.h"
#include "model/formats/safetensors.h"
#include "policy/draft_layer.h"
#include "policy/packing.h"
#include "rollout/local_sampler.h"
#include "tests/rollout/check_same.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int kWidth = 48, kLayers = 3;

using Values = std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>>;

std::vector<float> read_tensor(const SafetensorsFile& file, const TensorEntry& entry) {
  std::vector<float> values(static_cast<size_t>(entry.count()));
  file.read(entry, 0, values);
  return values;
}

Values read_all_tensors(const fs::path& path) {
  const SafetensorsFile file(path);
  Values out;
  for (const TensorEntry& entry : file.tensors())
    out[entry.name] = {entry.shape, read_tensor(file, entry)};
  return out;
}

void write_all_tensors(const fs::path& path, const Values& values) {
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : values)
    tensors.emplace_back(name, tensor.first, std::span<const float>(tensor.second));
  write_safetensors(path, tensors);
}

// A checkpoint in DeepSeek-V3's layout whose layer for multi-token prediction is as its last layer
// is. "knows": blocks add nothing, so a token is told from the one before it alone, and eh_proj
// passes the embedding on: the layer then tells what the model tells. "random": it knows nothing.
fs::path make_checkpoint(const fs::path& folder, bool knows) {
  fs::create_directories(folder);
  tiny_policy("latent", 3, {{"num_nextn_predict_layers", 1}})->save(folder);
  Values values = read_all_tensors(folder / "model.safetensors");
  const std::string last = "model.layers." + std::to_string(kLayers - 1) + ".";
  const std::string own = "model.layers." + std::to_string(kLayers) + ".";
  Rng rng(9, 0);
  if (knows) {
    for (auto& [name, tensor] : values) {
      if (name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight"))
        std::fill(tensor.second.begin(), tensor.second.end(), 0.0f);
    }
  }
  const Values model = values;
  for (const auto& [name, tensor] : model) {
    if (name.starts_with(last)) values[own + name.substr(last.size())] = tensor;
  }
  const std::vector<float> ones(kWidth, 1.0f);
  for (const char* norm : {"enorm", "hnorm", "shared_head.norm"})
    values[own + norm + ".weight"] = {{kWidth}, ones};
  std::vector<float> projection(2 * kWidth * kWidth);
  for (int row = 0; row < kWidth; ++row) {
    for (int column = 0; column < 2 * kWidth; ++column)
      projection[row * 2 * kWidth + column] =
          knows ? row == column : static_cast<float>(0.2 * rng.normal());
  }
  values[own + "eh_proj.weight"] = {{kWidth, 2 * kWidth}, projection};
  values[own + "embed_tokens.weight"] = model.at("model.embed_tokens.weight");
  values[own + "shared_head.head.weight"] = model.at("lm_head.weight");
  write_all_tensors(folder / "model.safetensors", values);
  return folder;
}

// Cool ones are nearly always what is likeliest: small models try only what is as good as certain.
std::vector<GenerationRequest> some_requests(bool cool = false) {
  std::vector<GenerationRequest> requests;
  for (const int length : {1, 7, 16, 31, 32}) {
    GenerationRequest request;
    for (int i = 0; i < length; ++i) request.prompt.push_back(2 + (5 * i + i * i / 7) % 90);
    request.seed = 5;
    request.problem = static_cast<uint32_t>(requests.size());
    request.samples = 1 + length % 3;
    request.sampling.max_tokens = 40;
    const double temperatures[] = {0.2, 1, 0};
    request.sampling.temperature = cool ? 0.02 : temperatures[requests.size() % 3];
    requests.push_back(request);
  }
  return requests;
}

EngineConfig engine(bool layer, int draft_tokens = 4) {
  EngineConfig config;
  config.draft_tokens = draft_tokens;
  config.draft_batch = 64;
  config.draft_layer = layer;
  return config;
}

TEST_CASE("a layer's drafts: the same samples, whatever it knows, the cache and the batch are") {
  const TemporaryFolder folder;
  for (const bool knows : {true, false}) {
    CAPTURE(knows);
    const auto weights =
        load_weights(make_checkpoint(folder.path() / (knows ? "knows" : "random"), knows));
    LocalSampler plain(weights, nullptr, engine(false, 0));
    const Results expected = plain.generate(some_requests());
    for (const auto& [batch, pages, chunk] :
         {std::array{256, 0, 512}, std::array{3, 0, 5}, std::array{64, 14, 11}}) {
      EngineConfig config = engine(true);
      config.max_batch = batch;
      config.cache_pages = pages;
      config.prefill_chunk = chunk;
      LocalSampler drafting(weights, nullptr, config);
      check_same(drafting.generate(some_requests()), expected);
      check_same(drafting.generate(some_requests()), expected);
    }
    // Where it knows what comes, fewer calls.
    LocalSampler cool(weights, nullptr, engine(false, 0)), drafting(weights, nullptr, engine(true));
    check_same(drafting.generate(some_requests(true)), cool.generate(some_requests(true)));
    if (!knows) continue;
    CHECK(drafting.stats().draft_accepted > 50);
    CHECK(3 * drafting.stats().forward_calls < 2 * cool.stats().forward_calls);
  }
}

TEST_CASE("a layer that knows the next token is believed where no text does") {
  const TemporaryFolder folder;
  const auto weights = load_weights(make_checkpoint(folder.path() / "knows", true));
  // No two samples, and a walk through tokens that does not repeat for long: cool, not greedy.
  std::vector<GenerationRequest> requests = {some_requests()[1]};
  requests[0].samples = 1;
  requests[0].sampling.temperature = 0.35;
  requests[0].sampling.max_tokens = 60;
  const auto accepted = [&](bool layer) {
    LocalSampler sampler(weights, nullptr, engine(layer));
    sampler.generate(requests);
    return sampler.stats().draft_accepted;
  };
  CHECK(accepted(true) > accepted(false));
}

TEST_CASE("a layer's rows do not depend on how tokens are dealt to calls") {
  const TemporaryFolder folder;
  const auto weights = load_weights(make_checkpoint(folder.path() / "random", false));
  const DraftLayer& layer = *draft_layer_of(*weights);
  const std::vector<TokenId> tokens = {5, 9, 31, 2,  77, 4,  40, 12, 60,
                                       8, 3, 3,  19, 55, 21, 90, 7,  30};
  const auto m = static_cast<int64_t>(tokens.size()) - 1;
  PackedBatch packed;
  packed.add(std::span(tokens).first(m));
  packed.finish();
  KvCache cache(weights->config(), packed.pages());
  std::vector<float> hidden(m * kWidth);
  weights->forward(packed.view(), cache, hidden.data());
  const auto rows = [&](int64_t step) {
    KvCache own(layer.config(), packed.pages());
    DraftLayer::Room room;
    std::vector<float> out(m * kWidth);
    const ForwardBatch all = packed.view();
    for (int64_t first = 0; first < m; first += step) {
      const int64_t n = std::min(step, m - first);
      std::vector<kernels::KvWrite> writes(all.writes.begin() + first,
                                           all.writes.begin() + first + n);
      for (kernels::KvWrite& write : writes) write.row -= static_cast<int32_t>(first);
      const ForwardBatch part{std::span(tokens).subspan(first + 1, n),
                              all.positions.subspan(first, n),
                              all.sequence.subspan(first, n),
                              all.page_table,
                              all.page_begin,
                              writes};
      layer.forward(*weights, part, hidden.data() + first * kWidth, own, room,
                    out.data() + first * kWidth);
    }
    return out;
  };
  const std::vector<float> whole = rows(m);
  CHECK(rows(1) == whole);
  CHECK(rows(5) == whole);
  // The first token's row: norms of the embedding and of the hidden row, side by side, through
  // eh_proj and the block, in which it attends to itself alone. Another hidden row, another result.
  std::fill(hidden.begin(), hidden.begin() + kWidth, 0.5f);
  CHECK(rows(m) != whole);
}

TEST_CASE("the layer is kept and written back, its tables as the model's") {
  const TemporaryFolder folder;
  const fs::path from = make_checkpoint(folder.path() / "random", false), to = folder.path() / "to";
  const auto policy = Policy::load(from);
  for (const ParameterInfo& info : policy->parameters().infos()) {
    if (info.role == Role::kHead || info.role == Role::kEmbedding)
      policy->parameters().view(info)[7] += 1;
  }
  fs::remove_all(from);  // as a run does with its older checkpoints
  fs::create_directories(to);
  policy->save(to);
  const Values saved = read_all_tensors(to / "model.safetensors");
  Values expected =
      read_all_tensors(make_checkpoint(folder.path() / "again", false) / "model.safetensors");
  const std::string own = "model.layers." + std::to_string(kLayers) + ".";
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"})
    expected[name].second[7] += 1;
  expected[own + "embed_tokens.weight"] = expected["model.embed_tokens.weight"];
  expected[own + "shared_head.head.weight"] = expected["lm_head.weight"];
  REQUIRE(saved.size() == expected.size());
  for (const auto& [name, tensor] : expected) {
    CAPTURE(name);
    REQUIRE(saved.contains(name));
    CHECK(saved.at(name) == tensor);
  }
  CHECK(draft_layer_of(*load_weights(to)) != nullptr);
}

TEST_CASE("a checkpoint without the layer, and one whose layer is damaged, are refused by name") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(LocalSampler(tiny_policy("latent")->weights(), nullptr, engine(true)),
                       doctest::Contains("engine.draft_layer"), Error);
  const fs::path path = make_checkpoint(folder.path() / "random", false);
  Values values = read_all_tensors(path / "model.safetensors");
  const std::string own = "model.layers." + std::to_string(kLayers) + ".";
  const auto broken = [&](const std::string& name, const char* text) {
    Values changed = values;
    changed.erase(own + name);
    write_all_tensors(path / "model.safetensors", changed);
    const WeightsPtr weights = load_weights(path);  // the model does without it
    CHECK_THROWS_WITH_AS(LocalSampler(weights, nullptr, engine(true)), doctest::Contains(text),
                         Error);
    CHECK_NOTHROW(LocalSampler(weights, nullptr, engine(false)));
  };
  broken("hnorm.weight", "hnorm.weight");
  broken("mlp.gate.weight", "mlp.gate.weight");
  Values changed = values;
  changed[own + "eh_proj.weight"] = {{kWidth, kWidth}, std::vector<float>(size_t{kWidth} * kWidth)};
  write_all_tensors(path / "model.safetensors", changed);
  CHECK_THROWS_WITH_AS(LocalSampler(load_weights(path), nullptr, engine(true)),
                       doctest::Contains("eh_proj.weight"), Error);
}

}  // namespace
}  // namespace zeroth
