#include "kernels/delta.h"

#include "delta_runs.h"
#include "kernels/reference/plain.h"

namespace zeroth::kernels {
namespace {

struct RuleResult {
  Values memory, out, states;
};

RuleResult rule_of(DeltaCase& c) {
  const Values states = c.states;
  RuleResult r{c.memory, Values(c.m * c.ldv(), 0.5f), {}};
  delta_rule(c.shape, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(), c.view(),
             r.memory.data(), r.out.data(), c.ldv());
  r.states = std::exchange(c.states, states);
  return r;
}

Values joined(std::initializer_list<const Values*> parts) {
  Values out;
  for (const Values* part : parts) out.insert(out.end(), part->begin(), part->end());
  return out;
}

// Largest difference of finite values, which both have at the same places.
double apart(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(std::isnan(a[i]) == std::isnan(b[i]));
    if (!std::isnan(a[i])) most = std::max(most, std::abs(double{a[i]} - b[i]));
  }
  return most;
}

TEST_CASE("delta_rule is the token by token recurrence, and the same bits everywhere") {
  for (DeltaCase& c : delta_cases()) {
    CAPTURE(c.m);
    everywhere([&] {
      RuleResult r = rule_of(c);
      for (float& x : r.states) x = std::isnan(x) ? 0 : x;
      return joined({&r.memory, &r.out, &r.states});
    });
    const RuleResult got = rule_of(c);
    Values memory = c.memory, out(c.m * c.ldv(), 0.5f), states = c.states;
    plain::delta_rule(c.shape, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(),
                      {c.runs, c.sets, c.page_table, c.slots.data(), states.data(), c.longest},
                      memory.data(), out.data(), c.ldv());
    CHECK(apart(got.memory, memory) < 2e-5);
    CHECK(apart(got.out, out) < 2e-5);
    CHECK(apart(got.states, states) < 2e-5);
  }
}

TEST_CASE("a state that is not kept is computed again with the same bits") {
  for (DeltaCase& c : delta_cases()) {
    const RuleResult kept = rule_of(c);
    for (DeltaRun& run : c.runs) run.base = -1, run.base_pages = 0;
    const RuleResult again = rule_of(c);
    CHECK(same_bits(again.out, kept.out));
    CHECK(same_bits(again.memory, kept.memory));
  }
}

struct RuleGradients {
  Values dq, dk, dv, dgates;
};

template <class Backward>
RuleGradients gradients_of(DeltaCase& c, const Values& memory, const Backward& backward) {
  const DeltaShape& s = c.shape;
  RuleGradients g{Values(c.m * s.keys(), NAN), Values(c.m * s.keys(), NAN),
                  Values(c.m * s.values(), NAN), Values(c.m * 2 * s.value_heads, NAN)};
  backward(s, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(), c.view(), memory.data(),
           c.dout.data(), c.ldv(), g.dq.data(), s.keys(), g.dk.data(), s.keys(), g.dv.data(),
           s.values(), g.dgates.data());
  return g;
}

TEST_CASE("delta_rule_backward is the recurrence's gradient, and the same bits everywhere") {
  for (DeltaCase& c : delta_cases()) {
    CAPTURE(c.m);
    const Values memory = rule_of(c).memory;
    everywhere([&] {
      const RuleGradients g = gradients_of(c, memory, delta_rule_backward);
      return joined({&g.dq, &g.dk, &g.dv, &g.dgates});
    });
    const RuleGradients got = gradients_of(c, memory, delta_rule_backward);
    const RuleGradients want = gradients_of(c, memory, plain::delta_rule_backward);
    CHECK(apart(got.dq, want.dq) < 1e-4);
    CHECK(apart(got.dk, want.dk) < 1e-4);
    CHECK(apart(got.dv, want.dv) < 1e-4);
    CHECK(apart(got.dgates, want.dgates) < 1e-4);
  }
}

TEST_CASE("the reference's gradient of the recurrence agrees with differences") {
  DeltaCase c = delta_case({1, 2, 4, 3}, {{0, 5, {3, 14}}, {3, 4, {}}}, 200);
  const auto loss = [&](const DeltaCase& at) {
    Values memory = at.memory, out(at.m * at.ldv()), states = at.states;
    plain::delta_rule(at.shape, at.q.data(), at.ldq(), at.v.data(), at.ldv(), at.gates.data(),
                      {at.runs, at.sets, at.page_table, at.slots.data(), states.data(), at.longest},
                      memory.data(), out.data(), at.ldv());
    double sum = 0;
    for (int64_t i = 0; i < at.m; ++i)
      for (int64_t j = 0; j < at.shape.values(); ++j)
        sum += double{out[i * at.ldv() + j]} * at.dout[i * at.ldv() + j];
    return sum;
  };
  Values memory = c.memory, out(c.m * c.ldv()), states = c.states;
  plain::delta_rule(c.shape, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(),
                    {c.runs, c.sets, c.page_table, c.slots.data(), states.data(), c.longest},
                    memory.data(), out.data(), c.ldv());
  const RuleGradients g = gradients_of(c, memory, plain::delta_rule_backward);
  const auto check = [&](Values& values, int64_t ld, const Values& gradient, int64_t width) {
    for (int64_t i = 0; i < c.m * width; ++i) {
      float& x = values[i / width * ld + i % width];
      const float keep = x, step = 1e-3f;
      x = keep + step;
      const double up = loss(c);
      x = keep - step;
      const double down = loss(c);
      x = keep;
      CHECK(std::abs((up - down) / (2 * step) - gradient[i]) < 2e-3);
    }
  };
  check(c.q, c.ldq(), g.dq, c.shape.keys());
  check(c.memory, c.shape.memory(), g.dk, c.shape.keys());
  check(c.v, c.ldv(), g.dv, c.shape.values());
  check(c.gates, 2 * c.shape.value_heads, g.dgates, 2 * c.shape.value_heads);
}

TEST_CASE("the convolution and its gradients") {
  for (DeltaCase& c : delta_cases()) {
    const int64_t channels = c.shape.channels(), ld = channels + 2, taps = c.taps;
    const Values x = random_values(c.m * ld, 7), w = random_values(channels * taps, 8);
    const Values dy = random_values(c.m * ld, 9), start = random_values(channels * taps, 10);
    const auto run = [&](const auto& forward, const auto& backward) {
      Values y(c.m * ld), dx(c.m * ld), dw = start;
      forward(x.data(), ld, w.data(), taps, c.past, c.slots.data(), c.shape.slot(), y.data(), ld,
              c.m, channels);
      backward(dy.data(), ld, x.data(), ld, w.data(), taps, c.past, c.slots.data(), c.shape.slot(),
               dx.data(), ld, dw.data(), c.m, channels, c.parts);
      return joined({&y, &dx, &dw});
    };
    const Values got = everywhere([&] { return run(causal_conv, causal_conv_backward); });
    CHECK(apart(got, run(plain::causal_conv, plain::causal_conv_backward)) < 2e-5);
  }
}

TEST_CASE("gates of the delta net and their gradients") {
  for (const int64_t heads : {1, 4, 16, 19}) {
    const int64_t m = 300, ld = 2 * heads + 1;
    Values x = random_values(m * ld, 1, 3);
    x[heads] = 25, x[heads + ld] = -30;
    const Values a_log = random_values(heads, 2), dt = random_values(heads, 3);
    const Values d = random_values(m * 2 * heads, 4);
    const std::vector<int64_t> parts = {0, 10, 290};
    const auto run = [&](const auto& forward, const auto& backward) {
      Values gates(m * 2 * heads), dx(m * ld), da = a_log, ddt = dt;
      forward(x.data(), ld, a_log.data(), dt.data(), gates.data(), m, heads);
      backward(d.data(), x.data(), ld, a_log.data(), dt.data(), gates.data(), dx.data(), ld,
               da.data(), ddt.data(), m, heads, parts);
      return joined({&gates, &dx, &da, &ddt});
    };
    const Values got = everywhere([&] { return run(delta_gates, delta_gates_backward); });
    const Values want = run(plain::delta_gates, plain::delta_gates_backward);
    for (size_t i = 0; i < got.size(); ++i)
      CHECK(std::abs(got[i] - want[i]) < 1e-5 * (10 + std::abs(want[i])));
  }
}

TEST_CASE("rows are split by groups and joined again") {
  const GroupSplit split{3, 3, {2, 5, 1}, {4, -1, 0}};
  const int64_t m = 50, ldx = 25, ldy = 11;
  const Values x = random_values(m * ldx, 1);
  Values y(m * ldy, 0.5f), back(m * ldx, 0.25f);
  split_groups(x.data(), ldx, split, y.data(), ldy, m);
  join_groups(y.data(), ldy, split, back.data(), ldx, m);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t g = 0; g < 3; ++g)
      for (int64_t j = 0; j < 8; ++j) {
        const float own = x[i * ldx + g * 8 + j], returned = back[i * ldx + g * 8 + j];
        CHECK(returned == (j < 2 || j == 7 ? own : 0.25f));
        if (j < 2) CHECK(y[i * ldy + 4 + g * 2 + j] == own);
        if (j == 7) CHECK(y[i * ldy + g] == own);
      }
  for (int64_t i = 0; i < m; ++i) CHECK(y[i * ldy + 3] == 0.5f);
}

}  // namespace
}  // namespace zeroth::kernels
