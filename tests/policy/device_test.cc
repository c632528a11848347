// A device that the host cannot follow: policy/ keeps its arrays there, hands operators nothing
// else, and gives the bits of the CPU.
#include <errno.h>

#include <algorithm>

#include "core/temporary_folder.h"
#include "policy/activation_store.h"
#include "policy/embedding_gradient.h"
#include "policy/scoring.h"
#include "support.h"
#include "tests/kernels/far_device.h"

namespace zeroth::test {
namespace {

using namespace kernels;

const std::vector<TokenId> kTokens = {1, 5, 9, 2, 7, 3, 3, 8, 1, 4, 2, 2, 6, 5, 1, 1, 9, 8, 7};

// What a model leaves: log-probs, the routers' statistics, log-probs of rows that the store kept,
// gradients with and without activations, what it says greedily.
struct Left {
  std::vector<float> logprobs, entropies, again, gradient, recomputed;
  std::vector<std::vector<int64_t>> load;
  std::vector<uint8_t> routing;
  std::vector<TokenId> said;
  std::string sha256;
  bool operator==(const Left&) const = default;
};

TargetBatch two_parts() {
  TargetBatch batch;
  for (const size_t n : {11, 19}) {
    batch.packed.begin_part();
    batch.packed.add(std::span(kTokens).first(n - 1));
    batch.target.insert(batch.target.end(), kTokens.begin() + 1, kTokens.begin() + n);
  }
  batch.packed.finish();
  batch.temperature.assign(batch.target.size(), 1.0f);
  return batch;
}

// The gradient of the sum of all log-probs and entropies, and of the balancing loss, after the
// scorer's last call.
std::vector<float> gradient_of(const Policy& policy, const TargetBatch& batch, Scorer& scorer,
                               Activations& saved) {
  const Operators& ops = policy.operators();
  const int64_t m = batch.responses(), width = policy.config().width;
  const std::span<const float> values = policy.parameters().values();
  const auto n = static_cast<int64_t>(values.size());
  Array<float> grads(ops.device(), n), dhidden(ops.device(), m * width);
  clear(ops.device(), grads.data(), n);
  const std::vector<float> ones(m, 1.0f);
  policy.logprobs_backward(scorer.response_hidden(), m, batch.target.data(),
                           batch.temperature.data(), {}, ones.data(), ones.data(), dhidden.data(),
                           {grads.data(), values.size()}, batch.packed.response_parts());
  EmbeddingGradient inputs(ops);
  const std::vector<float> aux(2, 0.5f);
  policy.backward(batch.packed.view(), scorer.cache(), saved, dhidden.data(),
                  {grads.data(), values.size()}, aux, &inputs);
  if (!inputs.empty()) inputs.move_to(grads.data() + policy.parameters().infos().front().offset);
  const OnHost<float> out(ops.device(), grads.data(), n);
  return {out.values().begin(), out.values().end()};
}

Left run(const Policy& policy) {
  const WeightsPtr weights = policy.weights();
  const PolicyConfig& c = weights->config();
  const TargetBatch batch = two_parts();
  const int64_t m = batch.packed.rows();
  Left left;
  left.logprobs.resize(m);
  left.entropies.resize(m);
  left.again.resize(m);
  if (c.is_moe()) left.routing.resize(m * c.moe_layers() * (c.router.top_k + 1));
  ActivationStore store(64 << 20);
  store.begin(*weights);
  std::vector<int32_t> rows(m);
  for (int32_t& row : rows) row = store.take();
  std::reverse(rows.begin(), rows.end());
  RouterStats stats;
  Activations inputs_only(Activations::Mode::kCheckpoint), recalled;
  Scorer scorer;
  scorer.forward(*weights, batch,
                 {.save = &inputs_only,
                  .stats = &stats,
                  .routing = left.routing.empty() ? nullptr : left.routing.data(),
                  .store = &store,
                  .store_rows = rows});
  scorer.score(*weights, batch, m, left.logprobs.data(), left.entropies.data());
  left.recomputed = gradient_of(policy, batch, scorer, inputs_only);
  scorer.recall(*weights, batch, recalled, nullptr, store, rows);
  scorer.score(*weights, batch, m, left.again.data(), nullptr);
  left.gradient = gradient_of(policy, batch, scorer, recalled);
  left.load = stats.load;
  left.said = greedy_continuation(*weights, std::span(kTokens).first(4), 5);
  left.sha256 = weights->sha256();
  return left;
}

TEST_CASE("on a device that the host cannot follow models give the same bits") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    TemporaryFolder folder;
    model.policy->save(folder.path());
    const auto far = std::make_unique<FarOperators>(cpu_operators());
    for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
      const Left here = run(*Policy::load(folder.path(), element));
      const Left there = run(*Policy::load(folder.path(), element, *far));
      CHECK(here.logprobs == here.again);
      CHECK(here.gradient == here.recomputed);
      CHECK(here == there);
      CHECK(load_weights(folder.path(), element, *far)->sha256() == here.sha256);
    }
    for (const std::string& op : far->strangers()) {
      CAPTURE(op);
      CHECK(op.empty());
    }
    CHECK(far->device().arrays() == 0);
  }
}

TEST_CASE("a cache of another device is refused") {
  const FarOperators ops(cpu_operators());
  const auto policy = Policy::load(fixture("llama"), Element::kFloat32, ops);
  KvCache here(policy->config(), 1);
  Array<float> hidden(ops.device(), policy->config().width);
  PackedBatch batch;
  batch.add(std::span(kTokens).first(1));
  batch.finish();
  CHECK_THROWS_WITH_AS(policy->forward(batch.view(), here, hidden.data()),
                       doctest::Contains("the cache is on device host, the weights on far"), Error);
}

// Whether this process can read a byte there; the system answers.
bool readable(const void* at) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const bool can = ::write(ends[1], at, 1) == 1;
  if (!can) CHECK(errno == EFAULT);
  ::close(ends[0]);
  ::close(ends[1]);
  return can;
}

TEST_CASE("the test's device: nobody follows its addresses, and strangers are named") {
  const FarOperators ops(cpu_operators());
  Array<float> x(ops.device(), 3), y(ops.device(), 3);
  CHECK(!readable(x.data().address()));
  const std::vector<float> values = {3, 1, 2};
  copy_in(ops.device(), x.data(), values.data(), 3);
  ops.add(x.data(), x.data(), y.data(), 3);
  const OnHost<float> sum(ops.device(), y.data(), 3);
  CHECK(readable(sum.values().data()));
  CHECK(std::vector<float>(sum.values().begin(), sum.values().end()) ==
        std::vector<float>{6, 2, 4});
  CHECK(ops.strangers().empty());
  ops.add(values.data(), x.data(), y.data(), 3);
  CHECK(ops.strangers() == std::set<std::string>{"add"});
}

TEST_CASE("arrays own memory of their device, and move") {
  const FarDevice device;
  {
    Array<float> a(device);
    CHECK(!a.data());
    CHECK(a.bytes() == 0);
    const At<float> at = a.get(8);
    CHECK(device.values_at(at.address()));
    CHECK(a.get(4) == at);
    Array<float> b = std::move(a);
    CHECK(b.data() == at);
    CHECK(!a.data());
    a = std::move(b);
    CHECK(a.data() == at);
    a.on(host_device());
    CHECK(device.arrays() == 0);
    CHECK(a.get(3));
    CHECK(Array<int64_t>(device, 5).bytes() == 40);
    Staged<int32_t> staged;
    const std::vector<int32_t> values = {3, 1, 2};
    CHECK(staged.put(host_device(), values).data() == At<const int32_t>(values.data()));
    const View<const int32_t> there = staged.put(device, values);
    CHECK(device.values_at(there.data().address()));
    const OnHost<int32_t> back(device, there.data(), 3);
    CHECK(std::equal(values.begin(), values.end(), back.values().begin()));
  }
  CHECK(device.arrays() == 0);
}

}  // namespace
}  // namespace zeroth::test
