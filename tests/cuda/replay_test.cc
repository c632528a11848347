// Stretches of operators that are recorded once and replayed: the bytes of making the calls, and no
// replay of what has changed.
#include <functional>

#include "core/temporary_folder.h"
#include "kernels/stretch.h"
#include "policy/decode_step.h"
#include "rollout/local_sampler.h"
#include "tests/cuda/gpu.h"
#include "tests/rollout/check_same.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

using namespace kernels;

constexpr int64_t kN = 100;

struct Arrays {
  explicit Arrays(const Gpu& gpu) : a(gpu.device(), kN), b(gpu.device(), kN) {}
  void set(const Gpu& gpu, float value) {
    const std::vector<float> values(kN, value);
    copy_in(gpu.device(), a.data(), values.data(), kN);
  }
  float get(const Gpu& gpu) const { return OnHost<float>(gpu.device(), b.data(), kN)[kN - 1]; }
  Array<float> a, b;
};

void check_counts(const Gpu& gpu, int64_t queued, int64_t recorded, int64_t replayed) {
  const auto found = gpu.device().replays();
  CHECK(found.queued == queued);
  CHECK(found.recorded == recorded);
  CHECK(found.replayed == replayed);
}

TEST_CASE("a stretch is queued, recorded, then replayed on the values of now") {
  const Gpu gpu(0);
  {
    Arrays x(gpu);
    int calls = 0;
    const auto twice = [&] {
      ++calls;
      gpu.add(x.a.data(), x.a.data(), x.b.data(), kN);
    };
    for (int i = 1; i <= 5; ++i) {
      x.set(gpu, static_cast<float>(i));
      gpu.replay({{1}, {}, 0}, twice);
      CHECK(x.get(gpu) == 2.0f * static_cast<float>(i));
    }
    CHECK(calls == 2);
    check_counts(gpu, 1, 1, 3);
    gpu.replay({{2}, {}, 0}, twice);
    gpu.replay({{2}, {}, 5}, twice);
    check_counts(gpu, 3, 1, 3);
  }
  check_left_empty(gpu);
}

TEST_CASE("what a stretch copies from the host is what it was when it was recorded") {
  const Gpu gpu(0);
  {
    Arrays x(gpu);
    const auto staged = [&] {  // one call stages parts of the host
      clear(gpu.device(), x.b.data(), kN);
      const std::vector<int64_t> parts = {0, 3};
      gpu.linear_backward_weight(x.a.data(), 1, x.a.data(), 1, x.b.data(), 1, {}, 9, 1, 1, parts);
    };
    for (int i = 1; i <= 4; ++i) {
      x.set(gpu, static_cast<float>(i));
      gpu.replay({{1}, {}, 0}, staged);
      // Values of x passed through the pinned memory of all other copies since.
      CHECK(OnHost<float>(gpu.device(), x.b.data(), 1)[0] == 9.0f * static_cast<float>(i * i));
    }
    check_counts(gpu, 1, 1, 2);
  }
  check_left_empty(gpu);
}

TEST_CASE("released arrays are named by no replay") {
  const Gpu gpu(0);
  {
    Arrays x(gpu);
    int calls = 0;
    const auto twice = [&] {
      ++calls;
      gpu.add(x.a.data(), x.a.data(), x.b.data(), kN);
    };
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 3; ++i) {
        x.set(gpu, 1);
        gpu.replay({{1}, {}, 0}, twice);
        CHECK(x.get(gpu) == 2);
      }
      CHECK(calls == 2 * (round + 1));
      Array<float> other(gpu.device(), kN);  // given back at the end of the round
      x.b = Array<float>(gpu.device(), kN);
    }
    // One that comes and goes while it is recorded is queued each time.
    const auto grows = [&] {
      ++calls;
      const Array<float> own(gpu.device(), kN);
      gpu.add(x.a.data(), x.a.data(), own.data(), kN);
      gpu.add(own.data(), x.a.data(), x.b.data(), kN);
    };
    calls = 0;
    for (int i = 0; i < 4; ++i) {
      x.set(gpu, 1);
      gpu.replay({{3}, {}, 0}, grows);
      CHECK(x.get(gpu) == 3);
    }
    CHECK(calls == 4);
  }
  check_left_empty(gpu);
}

TEST_CASE("a stretch that asks the device is made anew, and one that fails says why") {
  const Gpu gpu(0);
  {
    Arrays x(gpu);
    x.set(gpu, 3);
    double sum = 0;
    for (int i = 0; i < 3; ++i) {
      gpu.replay({{1}, {}, 0}, [&] { sum += gpu.sum_squares(x.a.data(), kN); });
    }
    CHECK(sum == 3 * 9 * kN);
    check_counts(gpu, 3, 0, 0);
    const auto fails = [&] { throw std::runtime_error("no"); };
    CHECK_THROWS_WITH(gpu.replay({{2}, {}, 0}, fails), "no");
    CHECK_THROWS_WITH(gpu.replay({{2}, {}, 0}, fails), "no");
    gpu.add(x.a.data(), x.a.data(), x.b.data(), kN);
    CHECK(x.get(gpu) == 6);
    const auto nested = [&] { gpu.replay({{5}, {}, 0}, [] {}); };
    gpu.replay({{4}, {}, 0}, nested);
    CHECK_THROWS_WITH_AS(gpu.replay({{4}, {}, 0}, nested), doctest::Contains("in another one"),
                         Error);
  }
  check_left_empty(gpu);
}

TEST_CASE("what the host knows of arrays is, behind a replay, what it was behind the calls") {
  const Gpu gpu(0);
  {
    Array<int32_t> ids(gpu.device(), 6), order(gpu.device(), 6);
    Array<int64_t> offsets(gpu.device(), 4);
    const auto sort = [&](int64_t rows) {
      gpu.expert_sort(ids.data(), rows, 1, 3, offsets.data(), order.data());
    };
    const auto known = [&] {
      return gpu.device().known().find(offsets.data().address(), 4 * sizeof(int64_t))->first;
    };
    const std::vector<int32_t> chosen = {2, 0, 1, 1, 2, 0};
    copy_in(gpu.device(), ids.data(), chosen.data(), 6);
    for (int i = 0; i < 4; ++i) {
      sort(2);
      CHECK(known() == 2);
      gpu.replay({{1}, {}, 0}, [&] { sort(6); });
      CHECK(known() == 6);
    }
    check_counts(gpu, 1, 1, 2);
  }
  check_left_empty(gpu);
}

TEST_CASE("a step of decoding is filled up by rows that write nothing") {
  for (const auto& [rows, filled] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {2, 2}, {3, 4}, {5, 8}, {9, 16}, {16, 16}, {17, 32}, {33, 48}, {256, 256}}) {
    CHECK(DecodeStep::rows_for(rows) == filled);
  }
  const std::vector<int32_t> tokens = {7, 8, 9}, positions = {3, 200, 64}, sequence = {0, 1, 2},
                             pages = {0, 1, 2}, begin = {0, 1, 2, 3};
  const std::vector<KvWrite> writes = {{0, 3}, {1, 24}, {2, 32}};
  const ForwardBatch batch{tokens, positions, sequence, pages, begin, writes};
  CHECK(DecodeStep::is_one(batch));
  CHECK(DecodeStep::bound_of(batch) == 256);
  DecodeStep step;
  const ForwardBatch filled = step.fill(batch);
  REQUIRE(filled.tokens.size() == 4);
  CHECK(std::vector<int32_t>(filled.tokens.begin(), filled.tokens.end()) ==
        std::vector<int32_t>{7, 8, 9, 9});
  CHECK(filled.positions[3] == 64);
  CHECK(filled.sequence[3] == 2);
  CHECK(filled.writes[2].slot == 32);
  CHECK(filled.writes[3].row == 3);
  CHECK(filled.writes[3].slot == kNoSlot);
  const std::vector<int32_t> one_sequence = {0, 0, 1};  // a prompt's rows
  ForwardBatch prompt = batch;
  prompt.sequence = one_sequence;
  CHECK(!DecodeStep::is_one(prompt));
  prompt = batch;
  prompt.writes = std::span(writes).first(2);
  CHECK(!DecodeStep::is_one(prompt));
}

std::vector<GenerationRequest> requests() {
  std::vector<GenerationRequest> out(3);
  for (size_t i = 0; i < out.size(); ++i) {
    for (size_t t = 0; t < 3 + 7 * i; ++t) {
      out[i].prompt.push_back(static_cast<TokenId>(2 + (5 * i + t) % 90));
    }
    out[i].seed = 4;
    out[i].problem = static_cast<uint32_t>(i);
    out[i].samples = 1 + static_cast<int>(i);
    out[i].sampling.max_tokens = 9 + 2 * static_cast<int>(i);
  }
  return out;
}

// Twice, so that the second time begins with what the first recorded.
Results samples_of(const Policy& policy) {
  const LetterTokenizer tokenizer;
  EngineConfig config;
  config.cache_pages = 16;
  config.draft_tokens = 0;
  LocalSampler engine(policy.weights(), &tokenizer, config);
  Results all = engine.generate(requests());
  for (auto& each : engine.generate(requests())) all.push_back(std::move(each));
  return all;
}

TEST_CASE("replayed steps of decoding draw the CPU's samples") {
  for (const std::string kind : {"dense", "moe", "latent"}) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    TemporaryFolder folder;
    policy->save(folder.path());
    const Gpu gpu(0);
    {
      const auto there = Policy::load(folder.path(), Element::kFloat32, gpu);
      check_same(samples_of(*there), samples_of(*policy));
    }
    CHECK(gpu.device().replays().replayed > 10);
    CHECK(gpu.device().replays().recorded < 8);
    check_left_empty(gpu);
  }
}

}  // namespace
}  // namespace zeroth
