#include "kernels/cuda/fibers/fibers.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/cuda/fibers/block.h"
#include "kernels/cuda/fibers/cuda.h"
#include "kernels/cuda/fibers/switch.h"

#undef threadIdx
#undef blockIdx

namespace zeroth::fibers {
namespace {

constexpr uint32_t kMostBarriers = kWatched ? 20'000 : 1'000;  // of a block: then it does not end

Block current;
std::vector<Fault> found;
void* scheduler_stack = nullptr;  // where the host's own stack goes on
void (*entry_of_launch)(const void*) = nullptr;
bool in_turn = true;
Order fixed_order = Order::kAscending;

// For the functions that kernels call: see Block::inside.
struct Inside {
  Inside() { current.inside = true; }
  ~Inside() { current.inside = false; }
};

void to_scheduler() {
  Fiber* self = current.running;
  self->switching.leave();
  switch_stack(&self->stack_pointer, scheduler_stack);
  self->switching.arrive();
}

std::string place() {
  if (!current.running) return "";
  return " (block " + std::to_string(current.number) + ", thread " +
         std::to_string(current.running->index) + ")";
}

// The first thing that a fiber does, and the last.
void live() {
  current.running->switching.arrive();
  entry_of_launch(current.parameters);
  current.inside = true;
  if (!current.running->copies.empty()) {
    raise_in_kernel(Kind::kAsync, "an asynchronous copy that its thread never waited for");
  }
  current.running->wait = Wait::kDone;
  to_scheduler();
}

void wait_at(Wait wait, uint32_t mask, int line) {
  Fiber& self = *current.running;
  self.wait = wait;
  self.mask = mask;
  self.line = line;
  to_scheduler();
}

// A small generator of its own: orders must be the same in every run.
struct Shuffle {
  uint32_t state = 1;
  void operator()(std::vector<unsigned>& order) {
    for (size_t i = order.size(); i > 1; --i) {
      state = state * 1664525u + 1013904223u;
      std::swap(order[i - 1], order[(state >> 8) % i]);
    }
  }
};

std::vector<unsigned> in_order(Order order, unsigned n, Shuffle& shuffle) {
  std::vector<unsigned> at(n);
  std::iota(at.begin(), at.end(), 0u);
  if (order == Order::kDescending) std::reverse(at.begin(), at.end());
  if (order == Order::kShuffled) shuffle(at);
  return at;
}

// The lanes of a warp, of those that the block has.
std::span<Fiber> lanes_of(unsigned warp) {
  const size_t first = size_t{warp} * kWarp;
  return std::span(current.fibers)
      .subspan(first, std::min<size_t>(kWarp, current.fibers.size() - first));
}

// Lets the lanes of `mask` go on: hands over values and votes, and each knows what the others did.
void release_warp(std::span<Fiber> lanes, uint32_t mask) {
  uint32_t joined[kWarp] = {}, votes = 0;
  unsigned slots[kWarp], met = 0;
  for (Fiber& f : lanes) {
    if (!(mask >> f.lane() & 1)) continue;
    slots[met++] = f.slot;
    for (unsigned j = 0; j < kWarp; ++j) joined[j] = std::max(joined[j], f.clocks[j]);
    if (f.value) votes |= 1u << f.lane();
  }
  for (Fiber& f : lanes) {
    if (!(mask >> f.lane() & 1)) continue;
    std::copy_n(joined, kWarp, f.clocks);
    ++f.clocks[f.lane()];
    const bool named =
        f.from >= 0 && f.from < static_cast<int>(lanes.size()) && (mask >> f.from & 1);
    f.received = named ? lanes[f.from].value : f.value;
    f.votes = votes;
    f.wait = Wait::kNone;
  }
  meet({slots, met});
}

// Whether all lanes that this one's mask names wait at its line with the same mask.
bool complete(std::span<Fiber> lanes, const Fiber& one) {
  for (unsigned j = 0; j < kWarp; ++j) {
    if (!(one.mask >> j & 1)) continue;
    if (j >= lanes.size()) return false;
    const Fiber& other = lanes[j];
    if (other.wait != Wait::kWarp || other.line != one.line || other.mask != one.mask) return false;
  }
  return true;
}

bool release_warps() {
  bool released = false;
  for (unsigned w = 0; w * kWarp < current.threads; ++w) {
    const std::span<Fiber> lanes = lanes_of(w);
    for (const Fiber& f : lanes) {
      if (f.wait != Wait::kWarp || !complete(lanes, f)) continue;
      release_warp(lanes, f.mask);
      released = true;
    }
  }
  return released;
}

// Nobody can run: either all wait at one barrier, or this is a fault.
void release_block() {
  const Fiber* first = nullptr;
  size_t waiting = 0, done = 0;
  for (const Fiber& f : current.fibers) {
    if (f.wait == Wait::kWarp) {
      return note(Kind::kWarp, "thread " + std::to_string(f.index) + " waits at line " +
                                   std::to_string(f.line) + " for lanes that do not come" +
                                   place());
    }
    if (f.wait == Wait::kDone) ++done;
    if (f.wait != Wait::kBlock) continue;
    if (first && first->line != f.line) {
      return note(Kind::kBarrier, "threads of a block wait at lines " +
                                      std::to_string(first->line) + " and " +
                                      std::to_string(f.line) + " at once" + place());
    }
    first = &f;
    ++waiting;
  }
  if (waiting != current.fibers.size()) {
    return note(Kind::kBarrier, "a barrier at line " + std::to_string(first ? first->line : 0) +
                                    " that " + std::to_string(done) +
                                    " threads left the kernel without" + place());
  }
  ++current.phase;
  static std::vector<unsigned> slots;
  slots.clear();
  for (Fiber& f : current.fibers) {
    f.wait = Wait::kNone;
    slots.push_back(f.slot);
  }
  meet(slots);
}

// `turn`: how many blocks of the launch have run.
void prepare_fibers(unsigned turn) {
  const unsigned sets = std::max(2u, kSlots / 2 / current.threads);
  const unsigned first = kLooker == Looker::kThreadSanitizer ? turn % sets * current.threads : 0;
  current.fibers.resize(current.threads);
  for (unsigned i = 0; i < current.threads; ++i) {
    Fiber& f = current.fibers[i];
    f = Fiber();
    f.index = i;
    f.slot = first + i;
    f.clocks[f.lane()] = 1;
    f.stack = stack_arena() + f.slot * kStackBytes;
    f.stack_pointer = new_stack(f.stack, kStackBytes, live);
  }
  begin_block(first, current.threads);
}

void run_block(unsigned turn, Order order, Shuffle& shuffle) {
  current.phase = 1;
  reset_shared(current.shared_bytes);
  current.shared = shared_arena();
  prepare_fibers(turn);
  std::vector<unsigned> turns = in_order(order, current.threads, shuffle);
  for (unsigned left = current.threads; left > 0;) {
    if (order == Order::kShuffled) shuffle(turns);
    for (const unsigned i : turns) {
      Fiber& f = current.fibers[i];
      if (f.wait != Wait::kNone) continue;
      current.running = &f;
      current.inside = false;
      {
        const HostSwitch switching(f.slot, f.stack, kStackBytes);
        switch_stack(&scheduler_stack, f.stack_pointer);
      }
      if (take_report()) note(Kind::kReported, "what the sanitizer says above" + place());
      current.running = nullptr;
      if (current.failed) return;
      if (f.wait == Wait::kDone) --left;
    }
    if (release_warps() || left == 0) continue;
    release_block();
    if (current.failed) return;
  }
}

bool within_limits(Index3 grid, unsigned threads, size_t shared_bytes, size_t bytes) {
  const auto refuse = [](const std::string& what) {
    note(Kind::kLimits, what);
    return false;
  };
  if (threads == 0 || threads > kMostThreads) {
    return refuse(std::to_string(threads) + " threads a block");
  }
  if (shared_bytes > kMostShared) {
    return refuse(std::to_string(shared_bytes) + " bytes of shared memory");
  }
  if (bytes > kMostParameters) return refuse(std::to_string(bytes) + " bytes of parameters");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 0xffffu ||
      grid.z > 0xffffu) {
    return refuse("a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                  std::to_string(grid.z));
  }
  return true;
}

}  // namespace

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"limits",    "host memory", "out of bounds", "shared bounds",
                                    "unwritten", "race",        "block race",    "barrier",
                                    "warp",      "misaligned",  "async",         "stuck",
                                    "reported"};
  return kNames[static_cast<int>(kind)];
}

Block& block() { return current; }
constinit thread_local bool runs_block = false;
bool faulty() { return !found.empty(); }
Looker looker() { return kLooker; }

void note(Kind kind, const std::string& what) {
  found.push_back({kind, what});
  current.failed = true;
}

void raise_in_kernel(Kind kind, const std::string& what) {
  current.inside = true;
  note(kind, what + place());
  to_scheduler();  // never resumed
  __builtin_unreachable();
}

std::vector<Fault> take_faults() { return std::exchange(found, {}); }

void set_order(Order order) {
  in_turn = false;
  fixed_order = order;
}
void set_orders_in_turn() { in_turn = true; }

void run(Index3 grid, unsigned threads, size_t shared_bytes, const void* arguments, size_t bytes,
         void (*entry)(const void* arguments)) {
  current.failed = false;
  if (!within_limits(grid, threads, shared_bytes, bytes)) return;
  ++current.launch;
  current.accesses = 0;
  const Order order = in_turn ? static_cast<Order>(current.launch % 3) : fixed_order;
  current.grid = grid;
  current.threads = threads;
  current.shared_bytes = shared_bytes;
  current.parameters = static_cast<const char*>(arguments);
  current.parameter_bytes = bytes;
  entry_of_launch = entry;
  const OpenMemory open;
  runs_block = true;
  Shuffle shuffle{current.launch};
  begin_launch();
  unsigned turn = 0;
  for (const unsigned number : in_order(order, grid.x * grid.y * grid.z, shuffle)) {
    current.number = number;
    current.index = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
    run_block(turn++, order, shuffle);
    if (current.failed) break;
  }
  end_launch(!current.failed);
  // Frames that nobody left say what may be touched for whoever has their stacks next.
  if (current.failed) permit(stack_arena(), kSlots * kStackBytes);
  current.running = nullptr;
  runs_block = false;
}

// --- what a thread asks for

Index3 thread_index() { return {current.running->index, 0, 0}; }
Index3 block_index() { return current.index; }
Index3 block_size() { return {current.threads, 1, 1}; }
Index3 grid_size() { return current.grid; }
char* shared_memory() { return current.shared; }
int lane() { return static_cast<int>(current.running->lane()); }

void sync_block(int line) {
  const Inside inside;
  if (current.phase > kMostBarriers) raise_in_kernel(Kind::kStuck, "barriers and no end");
  wait_at(Wait::kBlock, 0, line);
}
void sync_warp(uint32_t mask, int line) { exchange(mask, 0, 0, line); }

uint64_t exchange(uint32_t mask, uint64_t value, int from, int line) {
  const Inside inside;
  Fiber& self = *current.running;
  if (!(mask >> self.lane() & 1)) {
    raise_in_kernel(Kind::kWarp,
                    "a lane that its own mask does not name, line " + std::to_string(line));
  }
  self.value = value;
  self.from = from;
  wait_at(Wait::kWarp, mask, line);
  return self.received;
}

uint32_t vote(uint32_t mask, bool yes, int line) {
  exchange(mask, yes ? 1 : 0, lane(), line);
  return current.running->votes;
}

int atomic_add(int* at, int by) {
  const Inside inside;
  touch(at, sizeof(*at), Access::kAtomic);
  return fetch_add(at, by);
}

void check_alignment(const void* at, int bytes) {
  if (current.running && reinterpret_cast<uintptr_t>(at) % static_cast<uintptr_t>(bytes) != 0) {
    raise_in_kernel(Kind::kMisaligned, "a vector of " + std::to_string(bytes) +
                                           " bytes at an address that is no multiple of it");
  }
}

void copy_async(void* to, const void* from, int bytes) {
  const Inside inside;
  if (bytes != 4 && bytes != 8 && bytes != 16) {
    raise_in_kernel(Kind::kMisaligned,
                    "an asynchronous copy of " + std::to_string(bytes) + " bytes");
  }
  check_alignment(to, bytes);
  check_alignment(from, bytes);
  touch(from, static_cast<size_t>(bytes), Access::kRead);
  touch(to, static_cast<size_t>(bytes), Access::kWrite);
  set_pending(to, static_cast<size_t>(bytes), true);
  Fiber& self = *current.running;
  copy_begins(self.slot, self.groups, to, from, static_cast<size_t>(bytes));
  self.copies.push_back({to, from, bytes, self.groups});
}

void commit_copies() {
  const Inside inside;
  Fiber& self = *current.running;
  self.copies.push_back({nullptr, nullptr, 0, self.groups++});
}

void wait_for_copies(int groups_left) {
  const Inside inside;
  std::vector<AsyncCopy>& copies = current.running->copies;
  // Copies behind the last end of a group belong to none yet, and stay.
  size_t end = copies.size();
  int groups = 0;
  while (end > 0) {
    if (!copies[end - 1].to && groups++ == groups_left) break;
    --end;
  }
  for (size_t i = 0; i < end; ++i) {
    const AsyncCopy& c = copies[i];
    if (!c.to) continue;
    const auto bytes = static_cast<size_t>(c.bytes);
    copies_arrive(current.running->slot, c.group);
    set_pending(c.to, bytes, false);
    touch(c.from, bytes, Access::kRead);
    touch(c.to, bytes, Access::kWrite);
    std::memcpy(c.to, c.from, bytes);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<ptrdiff_t>(end));
}

}  // namespace zeroth::fibers
