#include "model/lora.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace zeroth {
namespace {

constexpr uint32_t kInitStream = 0x6c6f7261;  // random blocks of its own

std::vector<LoraPair> numbered(std::vector<LoraPair> pairs) {
  std::stable_sort(pairs.begin(), pairs.end(), [](const LoraPair& x, const LoraPair& y) {
    return x.matrix.weight < y.matrix.weight;
  });
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].a = 2 * i;
    pairs[i].b = 2 * i + 1;
  }
  return pairs;
}

std::vector<ParameterInfo> infos_of(const std::vector<LoraPair>& pairs) {
  std::vector<ParameterInfo> infos;
  const auto add = [&](const std::string& name, int64_t rows, int64_t columns) {
    ParameterInfo info;
    info.name = name;
    info.shape = {rows, columns};
    info.decay = true;
    infos.push_back(std::move(info));
  };
  for (const LoraPair& pair : pairs) {
    add(pair.module + ".lora_A", pair.rank, pair.matrix.in);
    add(pair.module + ".lora_B", pair.matrix.out, pair.rank);
  }
  return infos;
}

bool is_linear(Role role) {
  return role == Role::kAttention || role == Role::kMlp || role == Role::kExpert ||
         role == Role::kShared;
}

std::string last_part(const std::string& module) { return module.substr(module.rfind('.') + 1); }

}  // namespace

LoraAdapter::LoraAdapter(std::vector<LoraPair> pairs, double alpha)
    : pairs_(numbered(std::move(pairs))), alpha_(alpha), parameters_(infos_of(pairs_)) {}

void LoraAdapter::add_rows(const LoraPair& pair, int64_t first, std::span<float> rows) const {
  const auto in = static_cast<int64_t>(pair.matrix.in);
  const float* a = this->a(pair).data();
  const float* b = this->b(pair).data();
  std::vector<double> sum(static_cast<size_t>(in));
  const auto count = static_cast<int64_t>(rows.size()) / in;
  for (int64_t row = 0; row < count; ++row) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (int k = 0; k < pair.rank; ++k) {
      const double factor = b[(first + row) * pair.rank + k];
      const float* from = a + int64_t{k} * in;
      for (int64_t i = 0; i < in; ++i) sum[static_cast<size_t>(i)] += factor * from[i];
    }
    float* to = rows.data() + row * in;
    for (int64_t i = 0; i < in; ++i)
      to[i] = static_cast<float>(to[i] + pair.scale * sum[static_cast<size_t>(i)]);
  }
}

const LoraPair* LoraAdapter::find(int64_t offset) const {
  const auto after =
      std::upper_bound(pairs_.begin(), pairs_.end(), offset,
                       [](int64_t at, const LoraPair& pair) { return at < pair.matrix.weight; });
  if (after == pairs_.begin()) return nullptr;
  const LoraPair& pair = *(after - 1);
  const int64_t count = int64_t{pair.matrix.out} * pair.matrix.in;
  return offset < pair.matrix.weight + count ? &pair : nullptr;
}

std::unique_ptr<LoraAdapter> make_lora(const std::vector<ParameterInfo>& infos, int rank,
                                       double alpha, const std::vector<std::string>& targets,
                                       uint64_t seed) {
  std::vector<bool> met(targets.size(), false);
  std::vector<LoraPair> pairs;
  constexpr std::string_view kWeight = ".weight";
  for (const ParameterInfo& info : infos) {
    if (info.shape.size() != 2 || !info.name.ends_with(kWeight)) continue;
    LoraPair pair;
    pair.module = info.name.substr(0, info.name.size() - kWeight.size());
    bool wanted = targets.empty() && is_linear(info.role);
    for (size_t i = 0; i < targets.size(); ++i) {
      if (last_part(pair.module) != targets[i]) continue;
      met[i] = wanted = true;
    }
    if (!wanted) continue;
    if (info.role == Role::kEmbedding) {
      fail_usage("lora.targets names " + pair.module + ", which is no linear layer",
                 "name linear layers, such as q_proj");
    }
    if (!info.trainable) continue;
    pair.matrix = {info.offset, -1, static_cast<int>(info.shape[0]),
                   static_cast<int>(info.shape[1])};
    pair.rank = rank;
    pair.scale = alpha / rank;
    pairs.push_back(std::move(pair));
  }
  for (size_t i = 0; i < met.size(); ++i) {
    if (!met[i])
      fail_usage("lora.targets: no layer is called \"" + targets[i] + "\"",
                 "give last parts of names as the checkpoint has them, such as \"q_proj\"");
  }
  if (pairs.empty()) fail_usage("lora: no layer is left to adapt", "freeze less");
  auto adapter = std::make_unique<LoraAdapter>(std::move(pairs), alpha);
  for (size_t i = 0; i < adapter->pairs().size(); ++i) {
    const LoraPair& pair = adapter->pairs()[i];
    Rng rng(StreamKey{seed, static_cast<uint32_t>(i), 0, kInitStream});
    const double bound = 1 / std::sqrt(static_cast<double>(pair.matrix.in));
    for (float& value : adapter->a(pair))
      value = static_cast<float>(bound * (2 * rng.uniform() - 1));
  }
  return adapter;
}

}  // namespace zeroth
