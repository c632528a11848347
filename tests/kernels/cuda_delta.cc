// The gated delta net of the device over fibers against the CPU's, by bits.
#include <algorithm>

#include "cuda_test.h"
#include "delta_runs.h"
#include "kernels/cuda/delta.h"
#include "kernels/cuda/rows.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"delta_rule",           "delta_rule_backward", "causal_conv",
                         "causal_conv_backward", "delta_gates",         "delta_gates_backward",
                         "write_slots",          "split_groups",        "join_groups"};

// A case on the device.
struct DeviceCase {
  explicit DeviceCase(DeltaCase& c)
      : q(c.q),
        v(c.v),
        gates(c.gates),
        memory(c.memory),
        slots(c.slots),
        states(c.states),
        runs(c.runs),
        sets(c.sets),
        page_table(c.page_table) {
    call.shape = c.shape;
    call.q = q.data(), call.ldq = c.ldq();
    call.v = v.data(), call.ldv = c.ldv();
    call.gates = gates.data();
    call.runs = runs.data();
    call.sets = sets.data();
    call.set_count = static_cast<int64_t>(c.sets.size()) - 1;
    call.longest = c.longest;
    call.page_table = page_table.data();
    call.slots = slots.data();
    call.states = states.data();
    call.memory = memory.data();
  }
  Array<float> q, v, gates, memory, slots, states;
  Array<DeltaRun> runs;
  Array<int32_t> sets, page_table;
  cuda::DeltaRuleCall call;
};

std::vector<int64_t> numbers_of(const DeltaCase& c) {
  std::vector<int64_t> all = {c.shape.key_heads, c.shape.value_heads, c.shape.key_dim,
                              c.shape.value_dim, c.taps};
  for (const DeltaRun& run : c.runs) {
    all.insert(all.end(), {run.rows, run.position, run.parent, run.base_pages});
  }
  return all;
}

DeltaCase drawn(Draw& draw) {
  DeltaShape shape;
  shape.key_heads = static_cast<int>(draw.between(1, 2));
  shape.value_heads = shape.key_heads * static_cast<int>(draw.between(1, 2));
  shape.key_dim = static_cast<int>(draw.of({2, 4, 7, 8, 17}));
  shape.value_dim = static_cast<int>(draw.of({1, 4, 9, 17}));
  std::vector<DeltaSetShape> sets;
  for (int64_t n = draw.between(1, 2); n > 0; --n) {
    DeltaSetShape set{static_cast<int32_t>(draw.of({0, 0, 5, 16, 19})),
                      static_cast<int32_t>(draw.of({1, 2, 9, 16, 17})),
                      {}};
    for (int64_t children = draw.between(0, 2); children > 0; --children) {
      set.children.push_back(static_cast<int32_t>(draw.of({1, 3, 17})));
    }
    set.kept = draw.coin();
    sets.push_back(set);
  }
  return delta_case(shape, sets, static_cast<uint32_t>(draw.between(1, 1000)), draw.between(1, 5));
}

void check_rule(DeltaCase c) {
  if (!shapes.add({"delta_rule", "delta_rule_backward"}, numbers_of(c), 4)) return;
  CAPTURE(c.m);
  CAPTURE(c.shape.value_dim);
  const DeltaShape& s = c.shape;
  DeviceCase device(c);
  Values memory = c.memory, out = unwritten(c.m * c.ldv());
  const Array<float> aout(c.m * c.ldv()), space(cuda::delta_rule_space(device.call));
  delta_rule(s, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(), c.view(), memory.data(),
             out.data(), c.ldv());
  cuda::delta_rule(nullptr, device.call, aout.data(), c.ldv(), space.data());
  check_same(aout, out, "out");
  check_same(device.memory, memory, "memory");
  check_same(device.states, c.states, "states");

  const int64_t ld = s.keys() + 1;
  Values dq = unwritten(c.m * ld), dk = dq, dv = unwritten(c.m * c.ldv());
  Values dgates = unwritten(c.m * 2 * s.value_heads);
  const Array<float> dout(c.dout), adq(c.m * ld), adk(c.m * ld), adv(c.m * c.ldv()),
      adgates(c.m * 2 * s.value_heads), room(cuda::delta_rule_backward_space(device.call));
  delta_rule_backward(s, c.q.data(), c.ldq(), c.v.data(), c.ldv(), c.gates.data(), c.view(),
                      memory.data(), c.dout.data(), c.ldv(), dq.data(), ld, dk.data(), ld,
                      dv.data(), c.ldv(), dgates.data());
  cuda::DeltaRuleGradients g;
  g.dout = dout.data(), g.lddout = c.ldv();
  g.dq = adq.data(), g.lddq = ld, g.dk = adk.data(), g.lddk = ld;
  g.dv = adv.data(), g.lddv = c.ldv(), g.dgates = adgates.data();
  cuda::delta_rule_backward(nullptr, device.call, g, room.data());
  check_same(adq, dq, "dq");
  check_same(adk, dk, "dk");
  check_same(adv, dv, "dv");
  check_same(adgates, dgates, "dgates");
}

TEST_CASE("delta_rule and its gradients give the CPU's bits: pages, children, caches, bases") {
  for (const DeltaCase& c : delta_cases()) check_rule(c);
  for (Draw draw(1); shapes.wanting("delta_rule");) check_rule(drawn(draw));
}

void check_conv(const DeltaCase& c) {
  if (!shapes.add({"causal_conv", "causal_conv_backward"}, numbers_of(c))) return;
  const int64_t channels = c.shape.channels(), ld = channels + 2, taps = c.taps;
  CAPTURE(channels);
  const Values x = random_values(c.m * ld, 7), w = random_values(channels * taps, 8);
  const Values dy = random_values(c.m * ld, 9);
  Values y = unwritten(c.m * ld), dx = y, dw = random_values(channels * taps, 10);
  std::vector<int64_t> bounds = c.parts;
  bounds.push_back(c.m);
  const DeviceBounds cut(bounds);
  const Array<float> ax(x), aw(w), ady(dy), ay(c.m * ld), adx(c.m * ld), adw(dw), slots(c.slots),
      slopes(c.m * channels), sums(channels * taps);
  const Array<int64_t> past(c.past.empty() ? std::vector<int64_t>{0} : c.past);
  cuda::ConvCall call;
  call.x = ax.data(), call.ldx = ld, call.w = aw.data(), call.taps = taps;
  call.past = past.data(), call.slots = slots.data(), call.ldslot = c.shape.slot();
  call.m = c.m, call.channels = channels;
  causal_conv(x.data(), ld, w.data(), taps, c.past, c.slots.data(), c.shape.slot(), y.data(), ld,
              c.m, channels);
  cuda::causal_conv(nullptr, call, ay.data(), ld);
  check_same(ay, y, "y");
  causal_conv_backward(dy.data(), ld, x.data(), ld, w.data(), taps, c.past, c.slots.data(),
                       c.shape.slot(), dx.data(), ld, dw.data(), c.m, channels, c.parts);
  cuda::causal_conv_backward(nullptr, call, ady.data(), ld, adx.data(), ld, adw.data(),
                             cut.bounds(), slopes.data(), sums.data());
  check_same(adx, dx, "dx");
  check_same(adw, dw, "dw");
}

TEST_CASE("the convolution and its gradients give the CPU's bits") {
  for (const DeltaCase& c : delta_cases()) check_conv(c);
  for (Draw draw(2); shapes.wanting("causal_conv");) check_conv(drawn(draw));
}

void check_gates(int64_t heads, int64_t m, const std::vector<int64_t>& parts) {
  std::vector<int64_t> numbers = {heads, m};
  numbers.insert(numbers.end(), parts.begin(), parts.end());
  if (!shapes.add({"delta_gates", "delta_gates_backward"}, numbers)) return;
  const int64_t ld = 2 * heads + 1;
  CAPTURE(heads);
  CAPTURE(m);
  Values x = random_values(m * ld, 1, 3);
  x[heads] = 25, x[heads + ld * (m - 1)] = -30;
  const Values a_log = random_values(heads, 2), dt = random_values(heads, 3);
  const Values d = random_values(m * 2 * heads, 4);
  std::vector<int64_t> bounds = parts;
  bounds.push_back(m);
  const DeviceBounds cut(bounds);
  Values gates = unwritten(m * 2 * heads), dx = unwritten(m * ld), da = a_log, ddt = dt;
  const Array<float> ax(x), alog(a_log), adt(dt), ad(d), agates(m * 2 * heads), adx(m * ld),
      ada(a_log), addt(dt), partial(m * 2 * heads);
  delta_gates(x.data(), ld, a_log.data(), dt.data(), gates.data(), m, heads);
  cuda::delta_gates(nullptr, ax.data(), ld, alog.data(), adt.data(), agates.data(), m, heads);
  check_same(agates, gates, "gates");
  delta_gates_backward(d.data(), x.data(), ld, a_log.data(), dt.data(), gates.data(), dx.data(), ld,
                       da.data(), ddt.data(), m, heads, parts);
  cuda::delta_gates_backward(nullptr, ad.data(), ax.data(), ld, alog.data(), adt.data(),
                             agates.data(), adx.data(), ld, ada.data(), addt.data(), m, heads,
                             cut.bounds(), partial.data());
  check_same(adx, dx, "dx");
  check_same(ada, da, "da_log");
  check_same(addt, ddt, "ddt_bias");
}

TEST_CASE("gates of the delta net and their gradients give the CPU's bits") {
  for (const int64_t heads : {1, 4, 17}) check_gates(heads, 300, {0, 10, 290});
  for (Draw draw(3); shapes.wanting("delta_gates");) {
    const int64_t m = draw.between(1, 40);
    check_gates(draw.between(1, 9), m, draw.cuts(m, draw.between(1, 4)));
  }
}

void check_split(const GroupSplit& split, int64_t m) {
  std::vector<int64_t> numbers = {split.groups, split.parts, m};
  int64_t columns = 1;
  for (int p = 0; p < split.parts; ++p) {
    numbers.insert(numbers.end(), {split.width[p], split.to[p]});
    columns = std::max(columns, split.to[p] + split.groups * split.width[p]);
  }
  if (!shapes.add({"split_groups", "join_groups"}, numbers)) return;
  const int64_t ldx = split.groups * split.group_width() + 1, ldy = columns + 1;
  const Values x = random_values(m * ldx, 1);
  Values y = unwritten(m * ldy), back = random_values(m * ldx, 2);
  const Array<float> ax(x), ay(m * ldy), aback(back);
  split_groups(x.data(), ldx, split, y.data(), ldy, m);
  cuda::split_groups(nullptr, ax.data(), ldx, split, ay.data(), ldy, m);
  check_same(ay, y, "y");
  join_groups(y.data(), ldy, split, back.data(), ldx, m);
  cuda::join_groups(nullptr, ay.data(), ldy, split, aback.data(), ldx, m);
  check_same(aback, back, "x");
}

// Parts side by side in y, some of them nowhere.
GroupSplit drawn_split(Draw& draw) {
  GroupSplit split;
  split.groups = draw.between(1, 4);
  split.parts = static_cast<int>(draw.between(1, GroupSplit::kMost));
  int64_t column = draw.between(0, 2);
  for (int p = 0; p < split.parts; ++p) {
    split.width[p] = draw.between(1, 6);
    split.to[p] = -1;
    if (p > 0 && draw.between(0, 3) == 0) continue;
    split.to[p] = column;
    column += split.groups * split.width[p];
  }
  return split;
}

void check_slots(int64_t width, int64_t column, int64_t m, int64_t count) {
  if (!shapes.add({"write_slots"}, {width, column, m, count})) return;
  const int64_t ldx = width + 2, ldslot = column + width + 1;
  const Values x = random_values(m * ldx, 1);
  const std::vector<int32_t> slot = shuffled(48, 5);
  std::vector<KvWrite> writes;
  for (int64_t i = 0; i < count; ++i) writes.push_back({static_cast<int32_t>(i % m), slot[i]});
  Values slots = unwritten(48 * ldslot);
  const Array<float> ax(x), aslots(48 * ldslot);
  const Array<KvWrite> awrites(writes);
  write_slots(slots.data(), ldslot, column, writes, x.data(), ldx, width);
  cuda::write_slots(nullptr, aslots.data(), ldslot, column, awrites.data(), awrites.size(),
                    ax.data(), ldx, width);
  check_same(aslots, slots, "slots");
}

TEST_CASE("groups are split and joined, and slots written, as on the CPU") {
  check_split({3, 3, {2, 5, 1}, {4, -1, 0}}, 50);
  for (Draw draw(4); shapes.wanting("split_groups");) {
    const GroupSplit split = drawn_split(draw);
    check_split(split, draw.between(1, 20));
  }
  check_slots(25, 4, 2, 3);
  for (Draw draw(5); shapes.wanting("write_slots");) {
    check_slots(draw.between(1, 40), draw.between(0, 9), draw.between(1, 9), draw.between(1, 48));
  }
}

TEST_CASE("the delta net was compared on 200 shapes") { kCompared.check(); }

}  // namespace
}  // namespace zeroth::kernels
