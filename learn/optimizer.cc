#include "learn/optimizer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/parallel.h"

namespace zeroth {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total) {
  if (step < config.warmup_steps) {
    return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return config.lr;
  const double begin = std::max(static_cast<double>(config.warmup_steps),
                                config.decay_from * static_cast<double>(total));
  const double last = static_cast<double>(total) - 1;
  if (static_cast<double>(step) <= begin || last <= begin) return config.lr;
  const double progress = std::min(1.0, (static_cast<double>(step) - begin) / (last - begin));
  const double fall =
      config.schedule == "linear" ? progress : 0.5 * (1 - std::cos(std::numbers::pi * progress));
  return config.lr * (1 - (1 - config.min_lr_ratio) * fall);
}

AdamW::AdamW(const Parameters& parameters, const OptimizerConfig& config,
             const kernels::Operators& ops, std::vector<FloatRanges> experts)
    : ops_(ops.device().in_host_memory() ? ops : kernels::cpu_operators()),
      config_(config),
      m_(parameters.values().size()),
      v_(parameters.values().size()) {
  bool joins = false;  // the tensor before went into the last block
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.trainable) {
      joins = false;
      continue;
    }
    // The padding between neighbours is zero and stays zero, so a block may cover it.
    if (joins && blocks_.back().decay == info.decay) {
      blocks_.back().end = info.offset + info.count;
    } else {
      blocks_.push_back({info.offset, info.offset + info.count, info.decay});
    }
    joins = true;
  }
  shards_ = Shards(blocks_, std::move(experts));
}

// As kernels::sum_squares adds them, with every member's chunks by itself.
double AdamW::squares_of(std::span<const float> grads, Collective& collective) const {
  const auto& chunks = shards_.chunks();
  std::vector<double> partial(chunks.size());
  const std::vector<size_t> own = shards_.chunks_of(collective.rank(), collective.size());
  parallel_for(static_cast<int64_t>(own.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const FloatRange range = chunks[own[i]].range;
      partial[own[i]] = ops_.sum_squares(grads.data() + range.begin, range.end - range.begin);
    }
  });
  collective.gather_chunks(partial, shards_);
  std::vector<double> of_block(blocks_.size(), 0);
  for (size_t c = 0; c < chunks.size(); ++c) of_block[chunks[c].block] += partial[c];
  double squares = 0;
  for (const double block : of_block) squares += block;
  return squares;
}

double AdamW::step(Parameters& parameters, std::span<const float> grads, double lr,
                   Collective* collective) {
  Alone alone;
  Collective& members = collective != nullptr ? *collective : alone;
  const double squares = squares_of(grads, members);
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;

  kernels::AdamWStep update;
  update.lr = static_cast<float>(lr);
  update.beta1 = static_cast<float>(config_.beta1);
  update.beta2 = static_cast<float>(config_.beta2);
  update.eps = static_cast<float>(config_.eps);
  ++steps_;
  update.step = ++moment_steps_;
  if (config_.max_grad_norm > 0 && norm > config_.max_grad_norm) {
    update.grad_scale = static_cast<float>(config_.max_grad_norm / norm);
  }
  const FloatRanges own = shards_.of(members.rank(), members.size());
  if (members.size() == 1) {
    update_ranges(parameters, grads, own, update);
    return norm;
  }
  // Band by band, so that one goes out while the next is updated.
  members.begin_gather(parameters.values(), shards_);
  const std::vector<Band> bands = shards_.bands(members.size());
  for (size_t b = 0; b < bands.size(); ++b) {
    update_ranges(parameters, grads, bands[b].of[members.rank()], update);
    members.give(b);
  }
  if (!shards_.experts().empty())
    update_ranges(parameters, grads, common(own, shards_.experts()[members.rank()]), update);
  return norm;
}

void AdamW::update_ranges(Parameters& parameters, std::span<const float> grads,
                          const FloatRanges& ranges, kernels::AdamWStep step) {
  float* const w = parameters.values().data();
  for (const ParameterBlock& block : blocks_) {
    step.weight_decay = block.decay ? static_cast<float>(config_.weight_decay) : 0;
    for (const auto& [begin, end] : common({{block.begin, block.end}}, ranges)) {
      ops_.adamw(w + begin, grads.data() + begin, m_.span().data() + begin,
                 v_.span().data() + begin, end - begin, step);
    }
  }
}

void AdamW::reset() {
  moment_steps_ = 0;
  for (ZeroedFloats* moment : {&m_, &v_}) *moment = ZeroedFloats(moment->span().size());
  if (small_pages_) use_small_pages();
}

void AdamW::use_small_pages() {
  small_pages_ = true;
  for (ZeroedFloats* moment : {&m_, &v_}) {
    const std::span<float> values = moment->span();
    // From the array's first page on; where the system has no large pages it says no.
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto at = reinterpret_cast<uintptr_t>(values.data());
    const uintptr_t begin = (at + page - 1) / page * page, end = at + values.size_bytes();
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_NOHUGEPAGE);
  }
}

}  // namespace zeroth
