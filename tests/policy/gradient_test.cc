// The hand-written backward pass against differences of the forward pass.
#include <doctest/doctest.h>

#include <cmath>

#include "core/parallel.h"
#include "policy/decoder.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

// Two groups and a sequence of their own; all weights of the loss differ.
struct Batch {
  PackedBatch batch;
  std::vector<float> direction;   // loss = <direction, hidden> / 100
  std::vector<uint16_t> experts;  // replayed; empty: the routers choose

  explicit Batch(const PolicyConfig& c) {
    Rng rng(3, 0);
    const auto tokens = [&](int n) {
      std::vector<TokenId> out(n);
      for (TokenId& t : out) t = static_cast<TokenId>(rng.below(c.vocab_size));
      return out;
    };
    const auto prompt = tokens(19), a = tokens(5), b = tokens(14), alone = tokens(21);
    batch.add_group(prompt, std::vector<std::span<const TokenId>>{a, b});
    batch.add(alone);
    batch.finish();
    direction.resize(batch.rows() * c.width);
    for (float& d : direction) d = static_cast<float>(rng.normal() / 10);
  }

  // Experts that have nothing to do with what the routers choose, but of every third row.
  void replay_random_experts(const PolicyConfig& c) {
    Rng rng(4, 0);
    const int n = c.router.experts, k = c.router.top_k;
    for (int64_t i = 0; i < batch.rows() * c.moe_layers(); ++i) {
      const bool own = i / c.moe_layers() % 3 == 0;
      int missing = k;
      for (int e = 0; e < n && missing > 0; ++e) {
        if (static_cast<int>(rng.below(n - e)) >= missing) continue;
        experts.push_back(own ? RecordedRouting::kNone : static_cast<uint16_t>(e));
        --missing;
      }
    }
  }

  ForwardBatch view() const {
    ForwardBatch view = batch.view();
    view.recorded = {experts, true};
    return view;
  }

  std::vector<float> hidden(const Policy& policy, RouterStats* stats = nullptr) const {
    KvCache cache(policy.config(), batch.pages());
    std::vector<float> hidden(batch.rows() * policy.config().width);
    policy.forward(view(), cache, hidden.data(), nullptr, stats);
    return hidden;
  }

  double loss(const Policy& policy) const {
    const std::vector<float> hidden = this->hidden(policy);
    double sum = 0;
    for (size_t i = 0; i < hidden.size(); ++i) sum += double{hidden[i]} * direction[i];
    return sum;
  }

  std::vector<float> gradient(const Policy& policy, Activations::Mode mode,
                              float aux_coef = 0) const {
    Activations saved(mode);
    KvCache cache(policy.config(), batch.pages());
    std::vector<float> hidden(direction.size()), dhidden = direction;
    std::vector<float> grads(policy.parameters().values().size());
    policy.forward(view(), cache, hidden.data(), &saved);
    policy.backward(view(), cache, saved, dhidden.data(), grads,
                    std::vector<float>(aux_coef > 0 ? 1 : 0, aux_coef));
    return grads;
  }
};

// Moves one tensor by step * direction, calls measure, and puts it back.
template <class Measure>
double moved(Policy& policy, const ParameterInfo& info, const std::vector<float>& direction,
             double step, const Measure& measure) {
  const std::span<float> values = policy.parameters().view(info);
  const std::vector<float> before(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(before[i] + step * direction[i]);
  }
  policy.publish(0);
  const double result = measure();
  std::copy(before.begin(), before.end(), values.begin());
  return result;
}

// Central difference of `measure` along a random direction in one tensor, against the gradient. The
// step is chosen so that the two sides differ well above the rounding of a float32 forward pass.
template <class Measure>
void check_tensor(Policy& policy, const ParameterInfo& info, const std::vector<float>& grads,
                  const Measure& measure) {
  Rng rng(5, static_cast<uint32_t>(info.offset));
  std::vector<float> direction(info.count);
  double norm = 0, along = 0, size = 0;
  for (int64_t i = 0; i < info.count; ++i) {
    const float g = grads[info.offset + i];
    // Leaning towards the gradient keeps the signal above the noise; the random part finds what the
    // gradient lacks.
    direction[i] = static_cast<float>(rng.normal());
    norm += double{g} * g;
    size += double{direction[i]} * direction[i];
  }
  norm = std::sqrt(norm);
  size = std::sqrt(size);
  for (int64_t i = 0; i < info.count; ++i) {
    const double g = norm > 0 ? grads[info.offset + i] / norm : 0;
    direction[i] = static_cast<float>(0.6 * g + 0.8 * direction[i] / size);
    along += double{grads[info.offset + i]} * direction[i];
  }
  const auto at = [&](double step) { return moved(policy, info, direction, step, measure); };
  const double bound = 0.01 * norm + 0.02;
  double step = std::min(1e-2, 1e-2 / std::max(norm, 1e-3)), difference = 0;
  // Where another expert is chosen or a clamp begins between the two sides, their difference is no
  // derivative. The slopes of the two sides differ then, and a shorter way has no such place.
  for (int more = 3;; --more, step /= 6) {
    const double above = at(step), below = at(-step);
    difference = (above - below) / (2 * step);
    if (std::fabs(difference - along) <= bound || more == 0) break;
    const double here = at(0);
    if (std::fabs(above - 2 * here + below) / step <= bound) break;  // smooth, and not the gradient
  }
  INFO(info.name << " gradient norm " << norm << " along " << along << " measured " << difference);
  CHECK(std::fabs(difference - along) <= bound);
}

}  // namespace

TEST_CASE("gradients of every tensor of every family") {
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    Policy& policy = *model.policy;
    const Batch problem(policy.config());
    const std::vector<float> grads = problem.gradient(policy, Activations::Mode::kFull);
    for (const ParameterInfo& info : policy.parameters().infos()) {
      if (!info.trainable || info.name == "lm_head.weight") continue;
      check_tensor(policy, info, grads, [&] { return problem.loss(policy); });
    }
  }
}

TEST_CASE("gradients with replayed routing, of the routers too") {
  int models = 0;
  for (NamedModel& model : all_models()) {
    Policy& policy = *model.policy;
    const PolicyConfig& c = policy.config();
    if (!c.is_moe()) continue;
    CAPTURE(model.name);
    ++models;
    Batch problem(c);
    const std::vector<float> own = problem.hidden(policy);
    problem.replay_random_experts(c);
    CHECK(!same_bits(problem.hidden(policy), own));
    const std::vector<float> grads = problem.gradient(policy, Activations::Mode::kFull);
    CHECK(same_bits(grads, problem.gradient(policy, Activations::Mode::kCheckpoint)));
    for (const ParameterInfo& info : policy.parameters().infos()) {
      if (!info.trainable || info.name == "lm_head.weight") continue;
      check_tensor(policy, info, grads, [&] { return problem.loss(policy); });
      if (info.role != Role::kRouter || (c.router.top_k == 1 && c.router.normalize)) continue;
      const auto of_router = std::span(grads).subspan(info.offset, info.count);
      CHECK(std::any_of(of_router.begin(), of_router.end(), [](float g) { return g != 0; }));
    }
  }
  CHECK(models >= 4);
}

TEST_CASE("checkpointed and full activations give the same bits") {
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const Batch problem(model.policy->config());
    const auto full = problem.gradient(*model.policy, Activations::Mode::kFull, 0.1f);
    const auto light = problem.gradient(*model.policy, Activations::Mode::kCheckpoint, 0.1f);
    CHECK(same_bits(full, light));
  }
}

TEST_CASE("gradients do not depend on threads or the instruction set") {
  const int threads = num_threads();
  const std::string isa = kernels::isa();
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const Batch problem(model.policy->config());
    set_num_threads(1);
    const auto expected = problem.gradient(*model.policy, Activations::Mode::kFull);
    for (const int n : {2, 4}) {
      set_num_threads(n);
      CHECK(same_bits(problem.gradient(*model.policy, Activations::Mode::kFull), expected));
    }
    for (const std::string& other : kernels::supported_isas()) {
      kernels::set_isa(other);
      model.policy->publish(0);
      CHECK(same_bits(problem.gradient(*model.policy, Activations::Mode::kFull), expected));
    }
    kernels::set_isa(isa);
  }
  set_num_threads(threads);
}

TEST_CASE("activations are reusable and guarded") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_moe"));
  const Batch problem(policy->config());
  Activations saved;
  KvCache cache(policy->config(), problem.batch.pages());
  std::vector<float> hidden(problem.direction.size()), dhidden = problem.direction;
  std::vector<float> grads(policy->parameters().values().size());
  policy->forward(problem.batch.view(), cache, hidden.data(), &saved);
  CHECK(saved.bytes() > 0);
  policy->backward(problem.batch.view(), cache, saved, dhidden.data(), grads);
  // A second backward would read activations that are spent.
  CHECK(contains(error_of([&] {
                   policy->backward(problem.batch.view(), cache, saved, dhidden.data(), grads);
                 }),
                 "backward of"));
  std::vector<float> short_buffer(16);
  policy->forward(problem.batch.view(), cache, hidden.data(), &saved);
  CHECK(contains(error_of([&] {
                   policy->backward(problem.batch.view(), cache, saved, dhidden.data(),
                                    short_buffer);
                 }),
                 "gradient buffer"));
}

namespace {

// E * sum_e f_e P_e over all rows and MoE layers, from the router scores of a forward pass.
double balance_loss(const Policy& policy, const PackedBatch& batch) {
  const PolicyConfig& c = policy.config();
  Activations saved;
  hidden_of(policy, batch, &saved);
  const int experts = c.router.experts;
  std::vector<double> choices(experts), share(experts);
  const double rows = static_cast<double>(batch.rows()) * c.moe_layers();
  for (int l = 0; l < c.layers; ++l) {
    if (!c.sparse[l]) continue;
    const LayerState& state = saved.impl().layers[l];
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const float* score = state.scores.data().address() + i * experts;
      double sum = 0;
      for (int e = 0; e < experts; ++e) sum += score[e];
      for (int e = 0; e < experts; ++e) share[e] += score[e] / sum / rows;
      for (int k = 0; k < c.router.top_k; ++k) {
        choices[state.expert_ids.data().address()[i * c.router.top_k + k]] += 1 / rows;
      }
    }
  }
  double loss = 0;
  for (int e = 0; e < experts; ++e) loss += experts * choices[e] * share[e];
  return loss;
}

}  // namespace

TEST_CASE("the balancing loss has the gradient of its formula") {
  for (const char* family : {"qwen3_moe", "deepseek_v2", "deepseek_v3"}) {
    CAPTURE(family);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
    Batch problem(policy->config());
    std::fill(problem.direction.begin(), problem.direction.end(), 0.0f);
    const float coef = 3000;  // so that check_tensor's bounds mean something
    const auto grads = problem.gradient(*policy, Activations::Mode::kFull, coef);
    int checked = 0;
    for (const ParameterInfo& info : policy->parameters().infos()) {
      double norm = 0;
      for (int64_t i = 0; i < info.count; ++i) norm += std::fabs(grads[info.offset + i]);
      // Only small moves of the router keep the choices, and so the loss, differentiable.
      if (!contains(info.name, "mlp.gate.weight")) continue;
      CHECK(norm > 0);
      ++checked;
      check_tensor(*policy, info, grads,
                   [&] { return coef * balance_loss(*policy, problem.batch); });
    }
    CHECK(checked == policy->config().moe_layers());
  }
}
