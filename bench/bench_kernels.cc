// Speed of the operators at the shapes of small mixture-of-experts policies, each beside the limit
// measured in the same run: bench_kernels [--cpu-time] [name]... (gemm, backward, experts, decode,
// training, head, rows); all when none is named. --cpu-time: one thread, timed by its CPU clock,
// for a machine that others use too.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/head.h"
#include "kernels/limits.h"
#include "kernels/ops.h"

namespace {

using namespace zeroth;
using namespace zeroth::kernels;

struct Shape {
  const char* name;
  int width, heads, kv_heads, head_dim, experts, top_k, expert_width, vocab;
};
constexpr Shape kShapes[] = {{"tiny", 192, 6, 2, 32, 8, 2, 256, 512},
                             {"small", 512, 8, 4, 64, 16, 2, 512, 32000}};

Limits limits;
bool cpu_time = false;

double now() {
  timespec t{};
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::vector<float> random_floats(int64_t n, uint32_t stream) {
  std::vector<float> x(n);
  Rng rng(7, stream);
  for (float& value : x) value = static_cast<float>(rng.uniform()) - 0.5f;
  return x;
}

// Seconds of one call: the best of rounds within about 0.2 s.
template <class Body>
double seconds_of(const Body& body) {
  body();
  double best = 1e9, spent = 0;
  int calls = 1;
  while (spent < 0.2) {
    const double begin = now();
    for (int i = 0; i < calls; ++i) body();
    const double s = now() - begin;
    spent += s;
    best = std::min(best, s / calls);
    if (s < 0.002) calls *= 2;
  }
  return best;
}

void report(const std::string& what, double seconds, double flops, double bytes) {
  const double gflops = flops / seconds * 1e-9, gbs = bytes / seconds * 1e-9;
  std::printf("%-44s %10.1f us %8.1f GFLOP/s %5.1f%% of peak %7.1f GB/s\n", what.c_str(),
              seconds * 1e6, gflops, 100 * gflops / limits.gflops, gbs);
}

std::vector<std::pair<int, int>> products_of(const Shape& s) {  // out, in
  return {{(s.heads + 2 * s.kv_heads) * s.head_dim, s.width},
          {s.width, s.heads * s.head_dim},
          {2 * s.expert_width, s.width},
          {s.width, s.expert_width}};
}

void gemm(const Shape& s) {
  auto products = products_of(s);
  products.push_back({s.vocab, s.width});
  products.push_back({s.experts, s.width});
  for (const auto& [out, in] : products) {
    const auto w = random_floats(int64_t{out} * in, 1);
    for (const Element element : {Element::kFloat32, Element::kBfloat16}) {
      const bool narrow = element == Element::kBfloat16;
      PackedMatrix packed;
      packed.pack(w.data(), out, in, in, element);
      for (int m : {1, 4, 8, 16, 64, 512, 2048}) {
        if (int64_t{m} * out > 40'000'000) continue;
        const auto x = random_floats(int64_t{m} * in, 2);
        std::vector<float> y(int64_t{m} * out);
        const double t =
            seconds_of([&] { linear(x.data(), in, packed, nullptr, y.data(), out, m); });
        report(std::string(s.name) + (narrow ? " bfloat16" : "") + " linear " +
                   std::to_string(out) + "x" + std::to_string(in) + " m=" + std::to_string(m),
               t, 2.0 * m * out * in, (narrow ? 2.0 : 4.0) * out * in);
      }
    }
  }
}

void backward(const Shape& s) {
  for (const auto& [out, in] : products_of(s)) {
    const auto w = random_floats(int64_t{out} * in, 1);
    PackedMatrix packed;
    packed.pack(w.data(), out, in, in);
    for (int m : {64, 512, 4096}) {
      const auto x = random_floats(int64_t{m} * in, 2), dy = random_floats(int64_t{m} * out, 3);
      std::vector<float> dx(x.size()), dw(w.size());
      const std::string name =
          std::to_string(out) + "x" + std::to_string(in) + " m=" + std::to_string(m);
      report(std::string(s.name) + " backward input " + name, seconds_of([&] {
               linear_backward_input(dy.data(), out, packed, dx.data(), in, m, false);
             }),
             2.0 * m * out * in, 0);
      report(std::string(s.name) + " backward weight " + name, seconds_of([&] {
               linear_backward_weight(dy.data(), out, x.data(), in, dw.data(), in, nullptr, m, out,
                                      in);
             }),
             2.0 * m * out * in, 0);
    }
  }
}

void experts(const Shape& s) {
  const int out = 2 * s.expert_width, in = s.width;
  std::vector<std::vector<float>> raw;
  std::vector<PackedMatrix> packed(s.experts);
  std::vector<const PackedMatrix*> weights;
  std::vector<std::vector<float>> gradients(s.experts, std::vector<float>(int64_t{out} * in));
  std::vector<float*> dw;
  for (int e = 0; e < s.experts; ++e) {
    raw.push_back(random_floats(int64_t{out} * in, e));
    packed[e].pack(raw[e].data(), out, in, in);
  }
  for (int e = 0; e < s.experts; ++e) {
    weights.push_back(&packed[e]);
    dw.push_back(gradients[e].data());
  }
  for (int tokens : {1, 16, 64, 256, 4096}) {
    for (bool skewed : {false, true}) {
      const int64_t m = int64_t{tokens} * s.top_k;
      std::vector<int64_t> offsets{0};
      for (int e = 0; e < s.experts; ++e) {
        // Skewed: the first expert takes half of all rows.
        const int64_t end =
            skewed ? m / 2 + (m - m / 2) * e / std::max(1, s.experts - 1) : m * (e + 1) / s.experts;
        offsets.push_back(e + 1 == s.experts ? m : end);
      }
      const auto x = random_floats(m * in, 2), dy = random_floats(m * out, 4);
      std::vector<float> y(m * out), dx(m * in);
      const std::string name =
          std::string(s.name) + (skewed ? " skewed" : "") + " tokens=" + std::to_string(tokens);
      report("experts " + name,
             seconds_of([&] { grouped_linear(x.data(), in, offsets, weights, y.data(), out); }),
             2.0 * m * out * in, 0);
      if (tokens < 256) continue;
      report("experts backward input " + name, seconds_of([&] {
               grouped_backward_input(dy.data(), out, offsets, weights, dx.data(), in);
             }),
             2.0 * m * out * in, 0);
      report("experts backward weight " + name, seconds_of([&] {
               grouped_backward_weight(dy.data(), out, x.data(), in, offsets, dw, out, in);
             }),
             2.0 * m * out * in, 0);
    }
  }
}

// `groups` prompts of `prompt` tokens, each with `siblings` sequences of `tokens` more that share
// the prompt's pages.
struct Pages {
  std::vector<int32_t> sequence, position, table, begin{0};
  int count = 0;
  AttentionRows rows() const { return {sequence, position, table, begin, 0}; }

  Pages(int groups, int siblings, int prompt, int tokens, bool decode) {
    const int shared = prompt / kPageTokens, own = (tokens + kPageTokens - 1) / kPageTokens;
    for (int g = 0; g < groups; ++g) {
      const int first = count;
      count += shared;
      for (int s = 0; s < siblings; ++s) {
        for (int i = 0; i < shared; ++i) table.push_back(first + i);
        for (int i = 0; i < own; ++i) table.push_back(count++);
        const int id = g * siblings + s;
        const int from = decode ? prompt + tokens - 1 : prompt;
        for (int t = from; t < prompt + tokens; ++t) {
          sequence.push_back(id);
          position.push_back(t);
        }
        begin.push_back(static_cast<int32_t>(table.size()));
      }
    }
  }
};

void attend(const Shape& s, const std::string& name, const Pages& pages, bool with_backward) {
  const int64_t m = static_cast<int64_t>(pages.sequence.size());
  KvPages cache{nullptr, nullptr, s.kv_heads, s.head_dim, s.head_dim}, dcache = cache;
  auto k = random_floats(pages.count * cache.k_page(), 1),
       v = random_floats(pages.count * cache.v_page(), 2);
  std::vector<float> dk(k.size()), dv(v.size());
  cache.k = k.data();
  cache.v = v.data();
  dcache.k = dk.data();
  dcache.v = dv.data();
  const int64_t width = int64_t{s.heads} * s.head_dim;
  const auto q = random_floats(m * width, 3), dout = random_floats(m * width, 4);
  std::vector<float> out(m * width), lse(m * s.heads), dq(m * width);
  double keys = 0;
  for (int32_t p : pages.position) keys += p + 1;
  const double flops = 4.0 * keys * width;
  report(std::string(s.name) + " attention " + name, seconds_of([&] {
           attention(q.data(), width, cache, pages.rows(), 0.17f, s.heads, out.data(), width,
                     lse.data());
         }),
         flops, 8.0 * keys * s.kv_heads * s.head_dim);
  if (!with_backward) return;
  report(std::string(s.name) + " attention backward " + name, seconds_of([&] {
           attention_backward(q.data(), width, cache, pages.rows(), 0.17f, s.heads, out.data(),
                              width, lse.data(), dout.data(), width, dq.data(), width, dcache);
         }),
         2.5 * flops, 0);
}

void decode(const Shape& s) {
  for (int batch : {1, 64, 256})
    for (int context : {64, 256, 1024})
      attend(s, "decode batch=" + std::to_string(batch) + " context=" + std::to_string(context),
             Pages(std::max(1, batch / 16), std::min(batch, 16), context / 4, context - context / 4,
                   true),
             false);
}

void training(const Shape& s) {
  attend(s, "training 2 x 16 x 128", Pages(2, 16, 64, 128, false), true);
  attend(s, "training 1 x 1 x 1024", Pages(1, 1, 0, 1024, false), true);
}

void head(const Shape& s) {
  const auto w = random_floats(int64_t{s.vocab} * s.width, 1);
  PackedMatrix packed;
  packed.pack(w.data(), s.vocab, s.width, s.width);
  for (int m : {1, 64, 1024}) {
    const auto x = random_floats(int64_t{m} * s.width, 2);
    std::vector<float> logprob(m), entropy(m), temperature(m, 1.0f), ones(m, 1.0f), dx(x.size()),
        dw(w.size());
    std::vector<int32_t> token(m, 3);
    std::vector<SampleParams> params(m);
    std::vector<StreamKey> keys(m);
    std::vector<uint32_t> position(m, 5);
    const double flops = 2.0 * m * s.vocab * s.width;
    const std::string name = std::string(s.name) + " m=" + std::to_string(m);
    report("head sample " + name, seconds_of([&] {
             head_sample(x.data(), s.width, packed, params.data(), keys.data(), position.data(),
                         token.data(), logprob.data(), entropy.data(), nullptr, m);
           }),
           flops, 4.0 * s.vocab * s.width);
    report("head logprobs " + name, seconds_of([&] {
             head_logprobs(x.data(), s.width, packed, token.data(), temperature.data(), {},
                           logprob.data(), entropy.data(), nullptr, m);
           }),
           flops, 4.0 * s.vocab * s.width);
    if (m < 64) continue;
    report("head backward " + name, seconds_of([&] {
             head_backward(x.data(), s.width, packed, token.data(), temperature.data(), {},
                           ones.data(), nullptr, dx.data(), s.width, dw.data(), m);
           }),
           3 * flops, 0);
  }
}

void rows(const Shape& s) {
  for (int64_t m : {64, 4096}) {
    const int64_t width = s.width, n = m * width;
    const auto x = random_floats(n, 1), gu = random_floats(m * 2 * s.expert_width, 2),
               w = random_floats(width, 3);
    std::vector<float> y(std::max<int64_t>(n, m * s.expert_width)), inv(m), dx(n), dw(width),
        dgu(gu.size());
    const std::string name = std::string(s.name) + " m=" + std::to_string(m);
    report("rms_norm " + name, seconds_of([&] {
             rms_norm(x.data(), width, w.data(), 1e-6f, y.data(), width, inv.data(), m, width);
           }),
           0, 8.0 * n);
    report("rms_norm backward " + name, seconds_of([&] {
             rms_norm_backward(y.data(), width, x.data(), width, w.data(), inv.data(), dx.data(),
                               width, dw.data(), m, width, true);
           }),
           0, 16.0 * n);
    report("swiglu " + name, seconds_of([&] {
             swiglu(gu.data(), 2 * s.expert_width, y.data(), s.expert_width, m, s.expert_width);
           }),
           0, 12.0 * m * s.expert_width);
    report("swiglu backward " + name, seconds_of([&] {
             swiglu_backward(y.data(), s.expert_width, gu.data(), 2 * s.expert_width, dgu.data(),
                             2 * s.expert_width, m, s.expert_width);
           }),
           0, 20.0 * m * s.expert_width);
    PackedMatrix packed;
    report("pack " + name,
           seconds_of([&] { packed.pack(gu.data(), m, s.expert_width, s.expert_width); }), 0,
           8.0 * m * s.expert_width);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> wanted(argv + 1, argv + argc);
  cpu_time = std::erase(wanted, "--cpu-time") > 0;
  if (cpu_time) set_num_threads(1);
  limits = measure_limits();
  std::printf(
      "%s, %d threads: peak %.1f GFLOP/s, read %.1f GB/s from memory, %.1f GB/s from the %.0f MiB "
      "cache\n",
      isa().c_str(), num_threads(), limits.gflops, limits.read_gbs, limits.cache_gbs,
      limits.cache_mb);
  const std::vector<std::pair<std::string, void (*)(const Shape&)>> parts = {
      {"gemm", gemm},         {"backward", backward}, {"experts", experts}, {"decode", decode},
      {"training", training}, {"head", head},         {"rows", rows}};
  for (const auto& [name, run] : parts) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    for (const Shape& shape : kShapes) run(shape);
  }
}
