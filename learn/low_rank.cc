#include "learn/low_rank.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/parallel.h"
#include "model/formats/peft.h"

namespace zeroth {
namespace {

constexpr int64_t kColumns = 256;  // of A's gradient, summed by one thread at a time

int64_t values_of(const LoraPair& pair) { return int64_t{pair.matrix.out} * pair.matrix.in; }

std::vector<ParameterBlock> blocks_of(const LoraAdapter& adapter) {
  std::vector<ParameterBlock> blocks;
  for (const LoraPair& pair : adapter.pairs())
    blocks.push_back({pair.matrix.weight, pair.matrix.weight + values_of(pair), false});
  std::sort(blocks.begin(), blocks.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return blocks;
}

// dB[o, k] = scale sum_i dW[o, i] A[k, i].
void differentiate_b(const LoraPair& pair, const float* dw, const float* a, float* db) {
  const int64_t in = pair.matrix.in, rank = pair.rank;
  parallel_for(pair.matrix.out, 16, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t k = 0; k < rank; ++k) {
        double sum = 0;
        for (int64_t i = 0; i < in; ++i)
          sum += static_cast<double>(dw[o * in + i]) * static_cast<double>(a[k * in + i]);
        db[o * rank + k] = static_cast<float>(pair.scale * sum);
      }
    }
  });
}

// dA[k, i] = scale sum_o B[o, k] dW[o, i], for columns [begin, end).
void differentiate_a(const LoraPair& pair, const float* dw, const float* b, float* da,
                     int64_t begin, int64_t end) {
  const int64_t in = pair.matrix.in, rank = pair.rank, width = end - begin;
  std::vector<double> sum(static_cast<size_t>(rank * width), 0.0);
  for (int64_t o = 0; o < pair.matrix.out; ++o) {
    const float* row = dw + o * in + begin;
    for (int64_t k = 0; k < rank; ++k) {
      const double factor = b[o * rank + k];
      double* to = sum.data() + k * width;
      for (int64_t i = 0; i < width; ++i) to[i] += factor * static_cast<double>(row[i]);
    }
  }
  for (int64_t k = 0; k < rank; ++k) {
    for (int64_t i = 0; i < width; ++i)
      da[k * in + begin + i] =
          static_cast<float>(pair.scale * sum[static_cast<size_t>(k * width + i)]);
  }
}

}  // namespace

void LoraConfig::check() const {
  if (on()) {
    base_bits();
    return;
  }
  if (base != "float32") {
    fail_usage("lora.base = " + base + " without an adapter: all weights learn, in float32",
               "set lora.rank, or leave lora.base out");
  }
}

std::unique_ptr<Policy> load_policy(const LoraConfig& config, const std::filesystem::path& path,
                                    kernels::Element element, const kernels::Operators& ops,
                                    std::shared_ptr<ExpertExchange> experts) {
  if (!config.on()) return Policy::load(path, element, ops, std::move(experts));
  return Policy::load_frozen(path, config.base_bits(), element, ops);
}

std::unique_ptr<LoraAdapter> make_adapter(const LoraConfig& config, const Policy& policy,
                                          uint64_t seed) {
  if (!config.on()) return nullptr;
  const auto& infos = policy.parameters().infos();
  if (config.adapter.empty()) {
    return make_lora(infos, config.rank, config.alpha, config.targets,
                     config.seed < 0 ? seed : static_cast<uint64_t>(config.seed));
  }
  if (config.rank > 0 || !config.targets.empty()) {
    fail_usage("lora.adapter = " + config.adapter + " has its own rank and layers, beside " +
                   (config.rank > 0 ? "lora.rank = " + std::to_string(config.rank)
                                    : std::string("lora.targets")),
               "leave lora.rank and lora.targets out to go on from it");
  }
  const BaseBits bits = adapter_bits(config.adapter);
  if (bits != config.base_bits()) {
    fail_usage("lora.adapter = " + config.adapter + " was learnt over a base in " + name_of(bits) +
                   ", and lora.base is " + config.base,
               std::string("set lora.base to ") + name_of(bits));
  }
  auto adapter = read_adapter(config.adapter, policy.config());
  for (const ParameterInfo& info : infos) {
    const LoraPair* pair = adapter->find(info.offset);
    if (pair != nullptr && !info.trainable)
      fail_usage("lora.adapter adapts " + pair->module + ", which is frozen",
                 "freeze other parameters");
  }
  return adapter;
}

LowRankUpdate::LowRankUpdate(Policy& policy, std::unique_ptr<LoraAdapter> adapter)
    : policy_(policy),
      adapter_(std::move(adapter)),
      gradient_(adapter_->parameters().values().size()),
      shards_(blocks_of(*adapter_)) {
  Parameters& parameters = policy.parameters();
  for (const ParameterInfo& info : parameters.infos())
    parameters.set_trainable(info.name, adapter_->find(info.offset) != nullptr && !info.exact());
  if (!policy.base()) policy.freeze(BaseBits::kFloat32);
  policy.adapt(adapter_);
  policy.publish(policy.weights()->version());
}

std::vector<std::span<std::byte>> LowRankUpdate::base() const {
  std::vector<std::span<std::byte>> out;
  const auto& infos = policy_.parameters().infos();
  for (size_t i = 0; i < infos.size(); ++i) {
    if (adapter_->find(infos[i].offset) != nullptr) out.push_back(policy_.base()->bytes(i));
  }
  return out;
}

std::span<const float> LowRankUpdate::differentiate(std::span<const float> gradient) {
  const auto& infos = adapter_->parameters().infos();
  for (const LoraPair& pair : adapter_->pairs()) {
    const float* dw = gradient.data() + pair.matrix.weight;
    float* da = gradient_.span().data() + infos[pair.a].offset;
    float* db = gradient_.span().data() + infos[pair.b].offset;
    differentiate_b(pair, dw, adapter_->a(pair).data(), db);
    const float* b = adapter_->b(pair).data();
    const int64_t in = pair.matrix.in, blocks = (in + kColumns - 1) / kColumns;
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block)
        differentiate_a(pair, dw, b, da, block * kColumns, std::min(in, (block + 1) * kColumns));
    });
  }
  return gradient_.span();
}

std::string describe_update(const LowRankUpdate& update, const Policy& policy) {
  const auto millions = [](double n) { return n / 1e6; };
  double own = 0, all = 0;
  for (const ParameterInfo& info : update.adapter().parameters().infos())
    own += static_cast<double>(info.count);
  for (const ParameterInfo& info : policy.parameters().infos())
    all += static_cast<double>(info.count);
  constexpr double kMoments = 2 * sizeof(float);
  char text[400];
  std::snprintf(text, sizeof text,
                "LoRA: rank %d on %zu matrices, %.2fM of %.2fM parameters learn; moments take %.2f "
                "MB, not %.2f MB\n",
                update.adapter().pairs().front().rank, update.adapter().pairs().size(),
                millions(own), millions(all), millions(own * kMoments), millions(all * kMoments));
  std::string out = text;
  if (update.bits() == BaseBits::kFloat32) return out;
  const FrozenBase& base = *policy.base();
  const auto& infos = policy.parameters().infos();
  size_t matrices = 0, narrow = 0;
  for (size_t i = 0; i < infos.size(); ++i) {
    matrices += infos[i].shape.size() > 1;
    narrow += base.type(i) != GgmlType::kF32;
  }
  std::snprintf(text, sizeof text,
                "base: %zu of %zu matrices in %s, frozen; it takes %.2f MB, not %.2f MB\n", narrow,
                matrices, name_of(update.bits()), millions(static_cast<double>(base.total_bytes())),
                millions(all * sizeof(float)));
  return out + text;
}

}  // namespace zeroth
