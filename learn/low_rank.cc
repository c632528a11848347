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

int64_t values_of(const LoraAdapter& adapter) {
  int64_t n = 0;
  for (const LoraPair& pair : adapter.pairs()) n += values_of(pair);
  return n;
}

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

std::unique_ptr<LoraAdapter> make_adapter(const LoraConfig& config, const Policy& policy,
                                          uint64_t seed) {
  if (!config.on()) return nullptr;
  const auto& infos = policy.parameters().infos();
  if (config.adapter.empty())
    return make_lora(infos, config.rank, config.alpha, config.targets, seed);
  if (config.rank > 0 || !config.targets.empty()) {
    fail_usage("lora.adapter = " + config.adapter + " has its own rank and layers, beside " +
                   (config.rank > 0 ? "lora.rank = " + std::to_string(config.rank)
                                    : std::string("lora.targets")),
               "leave lora.rank and lora.targets out to go on from it");
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
      base_(static_cast<size_t>(values_of(*adapter_))),
      gradient_(adapter_->parameters().values().size()),
      shards_(blocks_of(*adapter_)) {
  Parameters& parameters = policy.parameters();
  for (const ParameterInfo& info : parameters.infos())
    parameters.set_trainable(info.name, adapter_->find(info.offset) != nullptr && !info.exact());
  int64_t at = 0;
  for (const LoraPair& pair : adapter_->pairs()) {
    base_at_.push_back(at);
    std::copy_n(parameters.values().begin() + pair.matrix.weight, values_of(pair),
                base_.span().begin() + at);
    at += values_of(pair);
  }
  merge();
  policy.publish(policy.weights()->version());
}

void LowRankUpdate::merge() {
  const std::span<float> values = policy_.parameters().values();
  for (size_t i = 0; i < adapter_->pairs().size(); ++i) {
    const LoraPair& pair = adapter_->pairs()[i];
    const int64_t in = pair.matrix.in;
    parallel_for(pair.matrix.out, 64, [&](int64_t begin, int64_t end) {
      const std::span<float> rows =
          values.subspan(pair.matrix.weight + begin * in, (end - begin) * in);
      std::copy_n(base_.span().begin() + base_at_[i] + begin * in, rows.size(), rows.begin());
      adapter_->add_rows(pair, begin, rows);
    });
  }
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
  char text[240];
  std::snprintf(text, sizeof text,
                "LoRA: rank %d on %zu matrices, %.2fM of %.2fM parameters learn; moments take %.2f "
                "MB, not %.2f MB\n",
                update.adapter().pairs().front().rank, update.adapter().pairs().size(),
                millions(own), millions(all), millions(own * kMoments), millions(all * kMoments));
  return text;
}

}  // namespace zeroth
