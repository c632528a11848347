// A device that the host cannot follow: policy/ keeps its arrays there, hands operators nothing
// else, and gives the bits of the CPU.
#include <errno.h>

#include <algorithm>

#include "core/temporary_folder.h"
#include "tests/kernels/far_device.h"
#include "tests/policy/left_by.h"

namespace zeroth::test {
namespace {

using namespace kernels;

TEST_CASE("on a device that the host cannot follow models give the same bits") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    TemporaryFolder folder;
    model.policy->save(folder.path());
    const auto far = std::make_unique<FarOperators>(cpu_operators());
    for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
      const Left here = left_by(*Policy::load(folder.path(), element));
      const Left there = left_by(*Policy::load(folder.path(), element, *far));
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
  batch.add(std::span(kLeftTokens).first(1));
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
