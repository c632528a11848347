// The gated delta net, token by token.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/plain.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels::plain {
namespace {

using reference::Doubles;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Where tap j of a row reads; null: in front of the sequence.
const float* tap_of(const float* x, int64_t ldx, int64_t taps, std::span<const int64_t> past,
                    const float* slots, int64_t ldslot, int64_t row, int64_t j) {
  const int64_t at = j + 1 == taps ? row : past[row * (taps - 1) + j];
  return at >= 0 ? x + at * ldx : at == -1 ? nullptr : slots + (-2 - at) * ldslot;
}

// What the taps of a row give in a channel, in front of silu.
double convolved(const float* x, int64_t ldx, const float* w, int64_t taps,
                 std::span<const int64_t> past, const float* slots, int64_t ldslot, int64_t row,
                 int64_t channel) {
  double z = 0;
  for (int64_t j = 0; j < taps; ++j) {
    const float* from = tap_of(x, ldx, taps, past, slots, ldslot, row, j);
    if (from) z += double{w[channel * taps + j]} * from[channel];
  }
  return z;
}

}  // namespace

void split_groups(const float* x, int64_t ldx, const GroupSplit& split, float* y, int64_t ldy,
                  int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t g = 0; g < split.groups; ++g) {
      const float* from = x + i * ldx + g * split.group_width();
      for (int p = 0; p < split.parts; from += split.width[p++])
        for (int64_t j = 0; j < split.width[p] && split.to[p] >= 0; ++j)
          y[i * ldy + split.to[p] + g * split.width[p] + j] = from[j];
    }
}

void join_groups(const float* y, int64_t ldy, const GroupSplit& split, float* x, int64_t ldx,
                 int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t g = 0; g < split.groups; ++g) {
      float* to = x + i * ldx + g * split.group_width();
      for (int p = 0; p < split.parts; to += split.width[p++])
        for (int64_t j = 0; j < split.width[p] && split.to[p] >= 0; ++j)
          to[j] = y[i * ldy + split.to[p] + g * split.width[p] + j];
    }
}

void write_slots(float* slots, int64_t ldslot, int64_t column, std::span<const KvWrite> writes,
                 const float* x, int64_t ldx, int64_t width) {
  for (const KvWrite& write : writes)
    std::copy_n(x + write.row * ldx, width, slots + write.slot * ldslot + column);
}

void causal_conv(const float* x, int64_t ldx, const float* w, int64_t taps,
                 std::span<const int64_t> past, const float* slots, int64_t ldslot, float* y,
                 int64_t ldy, int64_t m, int64_t channels) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t c = 0; c < channels; ++c) {
      const double z = convolved(x, ldx, w, taps, past, slots, ldslot, i, c);
      y[i * ldy + c] = static_cast<float>(z * sigmoid(z));
    }
}

void causal_conv_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                          const float* w, int64_t taps, std::span<const int64_t> past,
                          const float* slots, int64_t ldslot, float* dx, int64_t lddx, float* dw,
                          int64_t m, int64_t channels, RowParts) {
  Doubles back(m * channels), sum(dw, dw + channels * taps);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t c = 0; c < channels; ++c) {
      const double z = convolved(x, ldx, w, taps, past, slots, ldslot, i, c);
      const double s = sigmoid(z), dz = dy[i * lddy + c] * s * (1 + z * (1 - s));
      for (int64_t j = 0; j < taps; ++j) {
        const float* from = tap_of(x, ldx, taps, past, slots, ldslot, i, j);
        if (from) sum[c * taps + j] += dz * from[c];
        const int64_t at = j + 1 == taps ? i : past[i * (taps - 1) + j];
        if (at >= 0) back[at * channels + c] += dz * w[c * taps + j];
      }
    }
  for (int64_t i = 0; i < m; ++i) std::copy_n(back.begin() + i * channels, channels, dx + i * lddx);
  std::copy(sum.begin(), sum.end(), dw);
}

void delta_gates(const float* x, int64_t ldx, const float* a_log, const float* dt_bias,
                 float* gates, int64_t m, int64_t heads) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const double a = double{x[i * ldx + heads + h]} + dt_bias[h];
      gates[i * 2 * heads + h] = static_cast<float>(sigmoid(x[i * ldx + h]));
      gates[(i * 2 + 1) * heads + h] =
          static_cast<float>(-std::exp(double{a_log[h]}) * std::log1p(std::exp(a)));
    }
}

void delta_gates_backward(const float* dgates, const float* x, int64_t ldx, const float* a_log,
                          const float* dt_bias, const float* gates, float* dx, int64_t lddx,
                          float* da_log, float* ddt_bias, int64_t m, int64_t heads, RowParts) {
  Doubles by_log(da_log, da_log + heads), by_bias(ddt_bias, ddt_bias + heads);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t at = i * 2 * heads + h;
      const double beta = gates[at], dg = dgates[at + heads];
      const double a = double{x[i * ldx + heads + h]} + dt_bias[h];
      const double da = -dg * std::exp(double{a_log[h]}) * sigmoid(a);
      dx[i * lddx + h] = static_cast<float>(dgates[at] * beta * (1 - beta));
      dx[i * lddx + heads + h] = static_cast<float>(da);
      by_log[h] += dg * gates[at + heads];
      by_bias[h] += da;
    }
  std::copy(by_log.begin(), by_log.end(), da_log);
  std::copy(by_bias.begin(), by_bias.end(), ddt_bias);
}

namespace {

// A token as the recurrence meets it: of the call (row >= 0), or of the cache.
struct Token {
  int64_t row;
  const float* memory;  // [keys | u | c]
};

struct Recurrence {
  const DeltaShape& shape;
  const DeltaRuns& runs;
  const float* memory;
  int64_t head;

  int64_t size() const { return int64_t{shape.key_dim} * shape.value_dim; }
  int64_t key() const { return head / shape.share() * shape.key_dim; }
  int64_t u() const { return shape.keys() + head * shape.value_dim; }
  int64_t c() const { return shape.keys() + shape.values() + head; }
  float* state(int64_t number) const {
    return runs.states + (number * shape.value_heads + head) * size();
  }
  Token at(const DeltaRun& run, int32_t position) const {
    const bool before = position < run.position && run.parent >= 0;
    const DeltaRun& of = before ? runs.runs[run.parent] : run;
    if (position >= of.position) {
      const int64_t row = of.first + position - of.position;
      return {row, memory + row * shape.memory()};
    }
    const int64_t page = runs.page_table[run.pages + position / kPageTokens];
    return {-1, runs.slots + (page * kPageTokens + position % kPageTokens) * shape.slot() +
                    shape.channels()};
  }
  // S = exp(g) S + k u^T.
  void add(Doubles& s, double g, const float* k, const float* u) const {
    for (int d = 0; d < shape.key_dim; ++d)
      for (int e = 0; e < shape.value_dim; ++e) {
        double& value = s[d * shape.value_dim + e];
        value = std::exp(g) * value + double{k[d]} * u[e];
      }
  }
  // The decay of a token from the sums of its page.
  double decay(const DeltaRun& run, int32_t position) const {
    const double sum = at(run, position).memory[c()];
    return position % kPageTokens == 0 ? sum : sum - at(run, position - 1).memory[c()];
  }
  // The state in front of a position, by what is there already.
  Doubles before(const DeltaRun& run, int32_t position) const {
    const DeltaRun& root = run.parent >= 0 ? runs.runs[run.parent] : run;
    Doubles s(size());
    if (root.base >= 0) std::copy_n(state(root.base), size(), s.begin());
    for (int32_t p = root.base_pages * kPageTokens; p < position; ++p) {
      const float* token = at(run, p).memory;
      add(s, decay(run, p), token + key(), token + u());
    }
    return s;
  }
};

// y = S^T x.
Doubles read(const Doubles& s, const float* x, const DeltaShape& shape) {
  Doubles y(shape.value_dim);
  for (int d = 0; d < shape.key_dim; ++d)
    for (int e = 0; e < shape.value_dim; ++e) y[e] += s[d * shape.value_dim + e] * x[d];
  return y;
}

}  // namespace

void delta_rule(const DeltaShape& shape, const float* q, int64_t ldq, const float* v, int64_t ldv,
                const float* gates, const DeltaRuns& runs, float* memory, float* out,
                int64_t ldout) {
  for (int64_t h = 0; h < shape.value_heads; ++h) {
    const Recurrence of{shape, runs, memory, h};
    for (const DeltaRun& run : runs.runs) {
      Doubles s = of.before(run, run.position);
      const int32_t end = run.position + run.rows;
      for (int32_t p = run.position; p < end; ++p) {
        const int64_t row = of.at(run, p).row;
        float* const token = memory + row * shape.memory();
        const double beta = gates[row * 2 * shape.value_heads + h];
        const double g = gates[(row * 2 + 1) * shape.value_heads + h];
        const double sum = p % kPageTokens == 0 ? 0 : of.at(run, p - 1).memory[of.c()];
        const Doubles known = read(s, token + of.key(), shape);
        for (int e = 0; e < shape.value_dim; ++e)
          token[of.u() + e] = static_cast<float>(
              beta * (v[row * ldv + h * shape.value_dim + e] - std::exp(g) * known[e]));
        token[of.c()] = static_cast<float>(sum + g);
        of.add(s, g, token + of.key(), token + of.u());
        const Doubles y = read(s, q + row * ldq + of.key(), shape);
        std::copy(y.begin(), y.end(), out + row * ldout + h * shape.value_dim);
        const bool whole = (p + 1) % kPageTokens == 0;
        if (whole && end < p + 1 + kPageTokens && run.keep >= 0)
          std::copy(s.begin(), s.end(), of.state(run.keep));
      }
    }
  }
}

void delta_rule_backward(const DeltaShape& shape, const float* q, int64_t ldq, const float* v,
                         int64_t ldv, const float* gates, const DeltaRuns& runs,
                         const float* memory, const float* dout, int64_t lddout, float* dq,
                         int64_t lddq, float* dk, int64_t lddk, float* dv, int64_t lddv,
                         float* dgates) {
  for (const DeltaRun& run : runs.runs)
    for (int32_t row = run.first; row < run.first + run.rows; ++row) {
      std::fill_n(dq + row * lddq, shape.keys(), 0.0f);
      std::fill_n(dk + row * lddk, shape.keys(), 0.0f);
    }
  const int keys = shape.key_dim, values = shape.value_dim;
  for (int64_t h = 0; h < shape.value_heads; ++h) {
    const Recurrence of{shape, runs, memory, h};
    // Gradients of the states behind runs, which children add to.
    std::vector<Doubles> behind(runs.runs.size(), Doubles(of.size()));
    for (auto r = static_cast<int64_t>(runs.runs.size()) - 1; r >= 0; --r) {
      const DeltaRun& run = runs.runs[r];
      Doubles& ds = behind[r];
      for (int32_t p = run.position + run.rows - 1; p >= run.position; --p) {
        const int64_t row = of.at(run, p).row;
        const float* const token = memory + row * shape.memory();
        const float *k = token + of.key(), *u = token + of.u();
        const float* query = q + row * ldq + of.key();
        const float* by = dout + row * lddout + h * values;
        const double beta = gates[row * 2 * shape.value_heads + h];
        const double g = gates[(row * 2 + 1) * shape.value_heads + h];
        Doubles decayed = of.before(run, p);
        for (double& x : decayed) x *= std::exp(g);
        Doubles s = decayed;
        of.add(s, 0, k, u);
        Doubles key_gradient(keys), du(values), query_gradient(keys);
        for (int d = 0; d < keys; ++d)
          for (int e = 0; e < values; ++e) {
            double& x = ds[d * values + e];
            x += double{query[d]} * by[e];
            query_gradient[d] += s[d * values + e] * by[e];
            key_gradient[d] += x * u[e];
            du[e] += x * k[d];
          }
        const Doubles known = read(decayed, k, shape);
        double dbeta = 0, dg = 0;
        for (int e = 0; e < values; ++e) {
          dbeta += du[e] * (v[row * ldv + h * values + e] - known[e]);
          dv[row * lddv + h * values + e] = static_cast<float>(beta * du[e]);
        }
        for (int d = 0; d < keys; ++d) {
          for (int e = 0; e < values; ++e) {
            double& x = ds[d * values + e];
            key_gradient[d] -= decayed[d * values + e] * beta * du[e];
            x -= double{k[d]} * beta * du[e];
            dg += x * decayed[d * values + e];
            x *= std::exp(g);
          }
          dk[row * lddk + of.key() + d] += static_cast<float>(key_gradient[d]);
          dq[row * lddq + of.key() + d] += static_cast<float>(query_gradient[d]);
        }
        dgates[row * 2 * shape.value_heads + h] = static_cast<float>(dbeta);
        dgates[(row * 2 + 1) * shape.value_heads + h] = static_cast<float>(dg);
      }
      if (run.parent < 0) continue;
      for (int64_t i = 0; i < of.size(); ++i) behind[run.parent][i] += ds[i];
    }
  }
}

}  // namespace zeroth::kernels::plain
