// The memory of a GPU, and operators of the back end that whole models do not push to their limits.
#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/cuda/known_arrays.h"
#include "tests/cuda/gpu.h"
#include "tests/kernels/kernel_test.h"
#if !defined(ZEROTH_ON_DEVICE)
#include "kernels/cuda/fibers/runtime.h"
#endif

namespace zeroth::kernels {
namespace {

// Values of the host on a device.
template <class T>
class On {
 public:
  On(const Device& device, const std::vector<T>& values)
      : array_(device, static_cast<int64_t>(values.size())), n_(values.size()) {
    copy_in(device, array_.data(), values.data(), static_cast<int64_t>(n_));
  }
  operator At<T>() const { return array_.data(); }
  operator At<const T>() const { return array_.data(); }
  View<const T> view() const { return {array_.data(), n_}; }
  std::vector<T> host() const {
    const OnHost<T> values(array_.device(), array_.data(), static_cast<int64_t>(n_));
    return {values.values().begin(), values.values().end()};
  }

 private:
  Array<T> array_;
  size_t n_;
};

TEST_CASE("what is copied in comes out, in pieces of pinned memory and not") {
  const Gpu gpu(0);
  for (const int64_t n : {int64_t{1}, int64_t{1000}, int64_t{5} << 20}) {
    Values x(n);
    for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 1'000'003);
    {
      const On<float> there(gpu.device(), x);
      std::fill(x.begin(), x.end(), -1.0f);  // the host may reuse what it has handed over
      const Values back = there.host();
      bool same = true;
      for (int64_t i = 0; i < n; ++i) same &= back[i] == static_cast<float>(i % 1'000'003);
      CHECK(same);
    }
    Array<float> zeros(gpu.device(), n);
    clear(gpu.device(), zeros.data(), n);
    const OnHost<float> back(gpu.device(), zeros.data(), n);
    CHECK(back[0] == 0.0f);
    CHECK(back[n - 1] == 0.0f);
  }
  check_left_empty(gpu);
}

TEST_CASE("memory serves again without the driver, and where it ends is said") {
  const Gpu gpu(0);
  { Array<float> x(gpu.device(), 3 << 20); }
  const size_t held = gpu.device().bytes_held();
  for (int i = 0; i < 10; ++i) Array<float> x(gpu.device(), 3 << 20);
  CHECK(gpu.device().bytes_held() == held);
  CHECK(gpu.device().bytes_in_use() == 0);
  CHECK_THROWS_AS(gpu.device().allocate(size_t{1} << 50), std::bad_alloc);
#if !defined(ZEROTH_ON_DEVICE)
  // A device of 24 MiB: what the cache holds goes back when it is wanted in another size.
  fibers::set_device_bytes(held + (4 << 20));
  { Array<float> x(gpu.device(), (held + (2 << 20)) / 4); }
  CHECK_THROWS_AS(gpu.device().allocate(held + (5 << 20)), std::bad_alloc);
  fibers::set_device_bytes(size_t{128} << 20);
#endif
  check_left_empty(gpu);
}

TEST_CASE("a GPU that is not there is named") {
  CHECK_THROWS_WITH_AS(Gpu(99), doctest::Contains("there is no GPU 99"), Error);
  CHECK_THROWS_WITH_AS(Gpu(-1), doctest::Contains("there is no GPU -1"), Error);
}

TEST_CASE("what is known of an array is forgotten when somebody writes into it") {
  cuda::KnownArrays known;
  std::vector<int64_t> memory(100);
  int64_t* const at = memory.data();
  const auto bytes = [](int64_t n) { return static_cast<size_t>(n) * sizeof(int64_t); };
  known.note(at + 10, bytes(10), {7, 8});
  known.note(at + 40, bytes(10), {9, 9});
  CHECK(known.find(at + 10, bytes(10)) == cuda::KnownArrays::Numbers{7, 8});
  CHECK(!known.find(at + 10, bytes(9)));
  CHECK(!known.find(at + 11, bytes(9)));
  known.forget(at, bytes(10));
  known.forget(at + 20, bytes(20));
  CHECK(known.find(at + 10, bytes(10)));
  CHECK(known.find(at + 40, bytes(10)));
  known.forget(at + 19, bytes(1));
  CHECK(!known.find(at + 10, bytes(10)));
  known.forget(at, bytes(41));
  CHECK(!known.find(at + 40, bytes(10)));
  known.note(at, bytes(10), {1, 1});
  known.note(at + 5, bytes(10), {2, 2});  // other arrays lie there now
  CHECK(!known.find(at, bytes(10)));
}

TEST_CASE("attention asks again when positions change, and groups when offsets do") {
  const Gpu gpu(0);
  const Operators& cpu = cpu_operators();
  const int64_t m = 3, dim = 4;
  DevicePages shape;
  shape.kv_heads = 1, shape.k_dim = dim, shape.v_dim = dim;
  const Values k = random_values(4 * shape.k_page(), 1), v = random_values(4 * shape.v_page(), 2);
  const Values q = random_values(m * dim, 3);
  const On<float> ak(gpu.device(), k), av(gpu.device(), v), aq(gpu.device(), q);
  const std::vector<int32_t> sequence = {0, 1, 1}, table = {2, 0, 1, 3}, begin = {0, 2, 4};
  const On<int32_t> asequence(gpu.device(), sequence), atable(gpu.device(), table),
      abegin(gpu.device(), begin);
  const On<int32_t> aposition(gpu.device(), {0, 0, 0});
  for (const std::vector<int32_t>& position :
       {std::vector<int32_t>{1, 2, 3}, {31, 17, 18}, {0, 0, 25}}) {
    copy_in(gpu.device(), At<int32_t>(aposition), position.data(), m);
    Values out(m * dim), lse(m);
    KvPages pages;
    pages.kv_heads = 1, pages.k_dim = pages.v_dim = dim;
    Values hk = k, hv = v;
    pages.k = hk.data(), pages.v = hv.data();
    attention(q.data(), dim, pages, {sequence, position, table, begin, 0}, 0.5f, 1, out.data(), dim,
              lse.data());
    const On<float> aout(gpu.device(), Values(m * dim)), alse(gpu.device(), Values(m));
    shape.k = ak, shape.v = av;
    gpu.attention(aq, dim, shape,
                  {asequence.view(), aposition.view(), atable.view(), abegin.view(), 0}, 0.5f, 1,
                  aout, dim, alse);
    CHECK(same_bits(aout.host(), out));
    CHECK(same_bits(alse.host(), lse));
  }
  // Offsets that nobody sorted, and then others at the same place.
  const int64_t in = 20, out = 33, rows = 9;
  const Values w = random_values(out * in, 4), x = random_values(rows * in, 5);
  Values panels(cpu.packed_floats(out, in, Element::kFloat32));
  PackedMatrix here, there;
  here.place(out, in, Element::kFloat32, panels.data());
  cpu.pack_rows(here, 0, out, w.data(), in);
  Array<float> apanels(gpu.device(), static_cast<int64_t>(panels.size()));
  there.place(out, in, Element::kFloat32, apanels.data());
  gpu.pack_rows(there, 0, out, w.data(), in);
  const PackedMatrix *heres[] = {&here, &here}, *theres[] = {&there, &there};
  const On<float> ax(gpu.device(), x);
  const On<int64_t> aoffsets(gpu.device(), {0, 0, 0});
  for (const std::vector<int64_t>& offsets :
       {std::vector<int64_t>{0, 1, 2}, {0, 4, 9}, {0, 0, 1}}) {
    copy_in(gpu.device(), At<int64_t>(aoffsets), offsets.data(), 3);
    Values y(rows * out, 3.0f);
    const On<float> ay(gpu.device(), y);
    cpu.grouped_linear(x.data(), in, offsets, heres, y.data(), out);
    gpu.grouped_linear(ax, in, aoffsets.view(), theres, ay, out);
    CHECK(same_bits(ay.host(), y));
  }
  check_quiet(gpu);
}

// The head over several tiles of logits, kept sets included.
TEST_CASE("the head gives the CPU's bits tile by tile") {
  const int64_t vocab = 40, width = 24, m = 290;
  const Gpu gpu(0, 7 * vocab);
  const Operators& cpu = cpu_operators();
  const Values w = random_values(vocab * width, 1), hidden = random_values(m * width, 2);
  Values panels(cpu.packed_floats(vocab, width, Element::kFloat32));
  PackedMatrix here, there;
  here.place(vocab, width, Element::kFloat32, panels.data());
  cpu.pack_rows(here, 0, vocab, w.data(), width);
  Array<float> apanels(gpu.device(), static_cast<int64_t>(panels.size()));
  there.place(vocab, width, Element::kFloat32, apanels.data());
  gpu.pack_rows(there, 0, 32, w.data(), width);
  gpu.pack_rows(there, 32, vocab - 32, w.data() + 32 * width, width);
  Values back(vocab * width);
  gpu.unpack_rows(there, 0, vocab, back.data());
  CHECK(same_bits(back, w));
  const On<float> ahidden(gpu.device(), hidden);

  Rng rng(33, 0);
  std::vector<SampleParams> params(m);
  std::vector<StreamKey> keys(m);
  std::vector<uint32_t> positions(m);
  for (int64_t i = 0; i < m; ++i) {
    params[i].temperature = i % 7 == 0 ? 0.0f : 0.5f + 0.1f * static_cast<float>(i % 9);
    if (i % 3 == 1) params[i].top_k = 1 + static_cast<int>(i % 20);
    if (i % 4 == 2) params[i].top_p = 0.7f;
    keys[i] = {.seed = 5, .step = 1, .problem = static_cast<uint32_t>(i), .sample = 2};
    positions[i] = static_cast<uint32_t>(rng.below(1000));
  }
  for (const bool truncated : {true, false}) {
    if (!truncated) {
      for (SampleParams& p : params) p.top_k = 0, p.top_p = 1;
    }
    std::vector<int32_t> token(m), atoken(m);
    Values logprob(m), alogprob(m), entropy(m), aentropy(m);
    std::vector<std::vector<int32_t>> kept(m), akept(m, {1, 2, 3});
    cpu.head_sample(hidden.data(), width, here, params.data(), keys.data(), positions.data(),
                    token.data(), logprob.data(), entropy.data(), kept.data(), m);
    gpu.head_sample(ahidden, width, there, params.data(), keys.data(), positions.data(),
                    atoken.data(), alogprob.data(), aentropy.data(), akept.data(), m);
    CHECK(atoken == token);
    CHECK(same_bits(alogprob, logprob));
    CHECK(same_bits(aentropy, entropy));
    CHECK(akept == kept);

    Values temperature(m), again(m), aagain(m), lse(m), alse(m);
    std::vector<KeptSet> sets(kept.begin(), kept.end());
    for (int64_t i = 0; i < m; ++i) temperature[i] = params[i].temperature;
    cpu.head_logprobs(hidden.data(), width, here, token.data(), temperature.data(), sets,
                      again.data(), nullptr, lse.data(), m);
    gpu.head_logprobs(ahidden, width, there, token.data(), temperature.data(), sets, aagain.data(),
                      nullptr, alse.data(), m);
    CHECK(same_bits(again, logprob));
    CHECK(same_bits(aagain, again));
    CHECK(same_bits(alse, lse));

    const Values dlogprob = random_values(m, 6), dentropy = random_values(m, 7);
    const std::vector<int64_t> parts = {0, 11, 280};
    Values dhidden(m * width), dw = random_values(vocab * width, 8);
    const On<float> adhidden(gpu.device(), dhidden), adw(gpu.device(), dw);
    cpu.head_backward(hidden.data(), width, here, token.data(), temperature.data(), sets,
                      dlogprob.data(), dentropy.data(), dhidden.data(), width, dw.data(), m, parts);
    gpu.head_backward(ahidden, width, there, token.data(), temperature.data(), sets,
                      dlogprob.data(), dentropy.data(), adhidden, width, adw, m, parts);
    CHECK(same_bits(adhidden.host(), dhidden));
    CHECK(same_bits(adw.host(), dw));
  }
  std::vector<int32_t> bad(m, 0);
  bad[3] = static_cast<int32_t>(vocab);
  Values temperature(m, 1.0f), logprob(m);
  CHECK_THROWS_WITH_AS(gpu.head_logprobs(ahidden, width, there, bad.data(), temperature.data(), {},
                                         logprob.data(), nullptr, nullptr, m),
                       doctest::Contains("target id 40 of row 3"), Error);
  check_quiet(gpu);
}

TEST_CASE("the optimizer's operators give the CPU's bits on a GPU") {
  const Gpu gpu(0);
  const int64_t n = 70'001;
  Values w = random_values(n, 1), m = random_values(n, 2, 0.1), v(n, 0.01f);
  const Values g = random_values(n, 3);
  const On<float> aw(gpu.device(), w), am(gpu.device(), m), av(gpu.device(), v),
      ag(gpu.device(), g);
  CHECK(gpu.sum_squares(ag, n) == sum_squares(g.data(), n));
  CHECK(gpu.sum_squares(ag, 0) == 0);
  AdamWStep step;
  step.lr = 1e-2f;
  step.step = 3;
  adamw(w.data(), g.data(), m.data(), v.data(), n, step);
  gpu.adamw(aw, ag, am, av, n, step);
  CHECK(same_bits(aw.host(), w));
  CHECK(same_bits(am.host(), m));
  CHECK(same_bits(av.host(), v));
  step.step = 0;
  CHECK_THROWS_WITH_AS(gpu.adamw(aw, ag, am, av, n, step), doctest::Contains("AdamW step 0"),
                       Error);
  check_quiet(gpu);
}

#if !defined(ZEROTH_ON_DEVICE)
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

TEST_CASE("the host cannot follow the device's addresses, before and behind a launch") {
  const Gpu gpu(0);
  Array<float> x(gpu.device(), 10);
  CHECK(!readable(x.data().address()));
  clear(gpu.device(), x.data(), 10);
  gpu.add(x.data(), x.data(), x.data(), 10);
  gpu.device().wait();
  CHECK(!readable(x.data().address()));
  check_quiet(gpu);
}

TEST_CASE("a fault of a kernel comes up where the host waits, and as what it is") {
  const Gpu gpu(0);
  Array<float> x(gpu.device(), 10), y(gpu.device(), 10);
  gpu.add(x.data(), x.data(), y.data(), 10);  // nobody has written x
  CHECK_THROWS_WITH_AS(gpu.device().wait(), doctest::Contains("the GPU failed at work"), Error);
  std::vector<fibers::Fault> faults = fibers::take_faults();
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == fibers::Kind::kUnwritten);
  clear(gpu.device(), x.data(), 10);
  gpu.add(x.data(), x.data(), y.data(), 11);
  CHECK_THROWS_AS(gpu.device().wait(), Error);
  faults = fibers::take_faults();
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == fibers::Kind::kOutOfBounds);
  const At<float> gone = Array<float>(gpu.device(), 10).data();
  gpu.add(x.data(), x.data(), gone, 10);
  CHECK_THROWS_AS(gpu.device().wait(), Error);
  faults = fibers::take_faults();
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == fibers::Kind::kOutOfBounds);
  const Values host(10);
  gpu.add(host.data(), x.data(), y.data(), 10);
  CHECK_THROWS_AS(gpu.device().wait(), Error);
  faults = fibers::take_faults();
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == fibers::Kind::kHostMemory);
}
#endif

}  // namespace
}  // namespace zeroth::kernels
