#include "policy/dual_chunk.h"

#include <doctest/doctest.h>

#include <cmath>

#include "model/rope_table.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

constexpr int kChunkSize = 21, kLocal = 5, kChunk = kChunkSize - kLocal;

Json chunk_keys(int size, int local) {
  return {{"dual_chunk_attention_config", {{"chunk_size", size}, {"local_size", local}}}};
}

PolicyConfig chunked_config(const Json& changes) {
  Json json = read_json_file(fixture("qwen2") / "config.json");
  for (const auto& [key, value] : changes.items()) json[key] = value;
  return PolicyConfig::from_json(json, "chunked");
}

// x [heads, dim] rotated to `position`, in double.
std::vector<double> rotated(const PolicyConfig& c, const float* x, int position) {
  const std::vector<float> frequency = rope_frequencies(c.rope, c.head_dim);
  const int half = c.head_dim / 2;
  std::vector<double> out(c.head_dim);
  for (int i = 0; i < half; ++i) {
    const double angle = position * double{frequency[i]};
    out[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
    out[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return out;
}

// Where a query at p is rotated towards a key at `key`: the table of the paper, written out.
int query_position(int p, int key) {
  const int chunks = p / kChunk - key / kChunk;
  if (chunks == 0) return p % kChunk;
  if (chunks == 1) return std::min(p % kChunk + kChunk, kChunkSize);
  return std::min(2 * kChunk - 1, kChunkSize);
}

}  // namespace

TEST_SUITE("dual chunk attention") {
  TEST_CASE("equals a table of relative positions, query by query") {
    const PolicyConfig c = chunked_config(chunk_keys(kChunkSize, kLocal));
    const int m = 5 * kChunk + 3, dim = c.head_dim, group = c.heads / c.kv_heads;
    const int64_t q_width = int64_t{c.heads} * dim, kv_width = int64_t{c.kv_heads} * dim;
    Rng rng(8, 1);
    std::vector<float> q(m * q_width), k(m * kv_width), v(m * kv_width);
    for (auto* x : {&q, &k, &v}) {
      for (float& value : *x) value = static_cast<float>(rng.normal());
    }
    std::vector<int32_t> positions(m), sequence(m, 0), pages(m / 16 + 1);
    std::vector<kernels::KvWrite> writes;
    for (int p = 0; p < static_cast<int>(pages.size()); ++p) pages[p] = (p * 3 + 1) % 8;
    for (int p = 0; p < m; ++p) {
      positions[p] = p;
      writes.push_back({p, int64_t{pages[p / 16]} * 16 + p % 16});
    }
    const std::vector<int32_t> page_begin = {0, static_cast<int32_t>(pages.size())};
    DualChunks chunks;
    const RopeTable table(c.rope, dim, 1024);
    const auto rope = table.rows(64);
    const kernels::Operators& ops = kernels::cpu_operators();
    const int32_t* own = chunks.own_positions(ops.device(), c, positions).address();
    std::vector<float> q_own = q, k_own = k;
    kernels::rope(q_own.data(), q_width, dim, own, rope->cos.data(), rope->sin.data(), m, c.heads,
                  dim, false, false);
    kernels::rope(k_own.data(), kv_width, dim, own, rope->cos.data(), rope->sin.data(), m,
                  c.kv_heads, dim, false, false);
    KvCache cache(c, 8);
    ops.kv_write(cache.layer(0), writes, k_own.data(), kv_width, v.data(), kv_width);
    std::vector<float> out(m * q_width), lse(m * c.heads);
    chunks.forward(ops, c, cache.layer(0), {sequence, positions, pages, page_begin, 0},
                   rope->cos.data(), rope->sin.data(), q_own.data(), q_width, out.data(),
                   lse.data());
    double gap = 0;
    for (int p = 0; p < m; ++p) {
      for (int h = 0; h < c.heads; ++h) {
        std::vector<double> weight(p + 1);
        double sum = 0;
        for (int key = 0; key <= p; ++key) {
          const auto a = rotated(c, &q[p * q_width + h * dim], query_position(p, key));
          const auto b = rotated(c, &k[key * kv_width + h / group * dim], key % kChunk);
          double score = 0;
          for (int i = 0; i < dim; ++i) score += a[i] * b[i];
          sum += weight[key] = std::exp(score * c.attention_scale());
        }
        gap = std::max(gap, std::abs(std::log(sum) - lse[p * c.heads + h]));
        for (int i = 0; i < dim; ++i) {
          double expected = 0;
          for (int key = 0; key <= p; ++key) {
            expected += weight[key] / sum * v[key * kv_width + h / group * dim + i];
          }
          gap = std::max(gap, std::abs(expected - out[p * q_width + h * dim + i]));
        }
      }
    }
    CHECK(gap < 2e-6);
  }

  TEST_CASE("below the chunk length it is plain rotary attention, bit for bit") {
    const auto plain = variant("plain", "qwen2", Json::object());
    const auto chunked = variant("chunked", "qwen2", chunk_keys(80, 16));
    std::vector<TokenId> tokens(64);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % 120);
    CHECK(same_bits(hidden_of(*plain.policy, tokens), hidden_of(*chunked.policy, tokens)));
    tokens.push_back(3);
    CHECK(!same_bits(hidden_of(*plain.policy, tokens), hidden_of(*chunked.policy, tokens)));
  }

  TEST_CASE("configs that do not fit are refused by name") {
    const auto refusal = [](const Json& changes) {
      return error_of([&] { chunked_config(changes); });
    };
    CHECK(contains(refusal(chunk_keys(20, 5)), "multiple of 16"));
    CHECK(contains(refusal(chunk_keys(20, 20)), "local_size"));
    Json windowed = chunk_keys(21, 5);
    windowed["use_sliding_window"] = true;
    windowed["layer_types"] = nullptr;
    windowed["sliding_window"] = 8;
    windowed["max_window_layers"] = 0;
    CHECK(contains(refusal(windowed), "sliding windows"));
  }
}
