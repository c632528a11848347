// What one forward call of a decoder takes and leaves: its rows, the key/value cache, and what
// backward needs of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "kernels/operators.h"
#include "model/config.h"

namespace zeroth {

// Which experts rows were routed to when they were sampled.
struct RecordedRouting {
  // [m, moe layers, top_k] ascending within a layer; kNone first: not known, the router chooses.
  // Empty: of no row.
  std::span<const uint16_t> experts;
  static constexpr uint16_t kNone = 0xffff;
  // Rows go to these experts, with weights from the scores of now, which the router's gradient
  // follows (routing replay, docs/algorithms.md). Else they are only compared with what the routers
  // choose (RouterStats).
  bool replay = false;
};

// Rows of one forward call: tokens of any number of sequences, in any mix of prefill, decode and
// packed training. Keys and values of every row are written to the cache (at the slots of `writes`)
// before any row attends.
struct ForwardBatch {
  std::span<const TokenId> tokens;           // [m]
  std::span<const int32_t> positions;        // [m] absolute
  std::span<const int32_t> sequence;         // [m] index of the row's sequence
  std::span<const int32_t> page_table;       // pages of all sequences, flattened
  std::span<const int32_t> page_begin;       // [sequences + 1]
  std::span<const kernels::KvWrite> writes;  // at least one per row
  // First rows of the parts whose gradients are summed by themselves (kernels/parts.h). Sequences
  // of two parts share no pages.
  kernels::RowParts parts = {};
  RecordedRouting recorded = {};
};

class StateTable;  // policy/delta_plan.h

// Paged key/value cache of all layers; page p is the same page in every layer. Layers that are gated
// delta nets keep there what later tokens need of each (kernels/delta.h), and states behind some
// pages. Who owns which page
// is the caller's business (rollout/ for the engine, rl/ for packed training). Not thread safe.
class KvCache {
 public:
  // For weights of these operators.
  KvCache(const PolicyConfig& config, int64_t pages,
          const kernels::Operators& ops = kernels::cpu_operators());
  ~KvCache();
  int64_t pages() const;
  int64_t bytes() const;
  // Of a layer with attention.
  kernels::DevicePages layer(int layer) const;
  // Of a gated delta net.
  kernels::At<float> slots(int layer) const;
  kernels::At<float> states(int layer) const;
  StateTable& state_table();
  const StateTable& state_table() const;
  const kernels::Device& device() const;
  // All layers; for a partial page that a child takes over.
  void copy_page(int32_t from, int32_t to);
  void zero();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What backward needs of one forward call. Reusable: it keeps its memory for the next call. Belongs
// to one forward and its backward at a time.
class Activations {
 public:
  enum class Mode {
    kFull,        // everything that backward cannot cheaply recompute
    kCheckpoint,  // the input of every layer; backward runs each layer's forward again (gradients
                  // are equal bit for bit)
  };
  explicit Activations(Mode mode = Mode::kFull);
  ~Activations();
  Mode mode() const;
  int64_t bytes() const;  // memory held now
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// How many of the recorded choices (RecordedRouting) are not those of the routers now. A choice is
// that of all experts of a row in one layer.
struct RoutingChange {
  int64_t choices = 0, changed_choices = 0;
  int64_t rows = 0, changed_rows = 0;  // changed: in one layer at least
  RoutingChange& operator+=(const RoutingChange& other);
  bool operator==(const RoutingChange&) const = default;
};

// Statistics of one forward call, added up over calls until reset.
struct RouterStats {
  std::vector<std::vector<int64_t>> load;  // [moe layer][expert] routed choices
  RoutingChange change;
};

// f(part, first row, end of its rows) for every part of a batch.
template <class F>
void for_parts(const ForwardBatch& batch, const F& f) {
  const auto m = static_cast<int64_t>(batch.tokens.size());
  const auto n = static_cast<int64_t>(batch.parts.size());
  if (n == 0) return f(int64_t{0}, int64_t{0}, m);
  for (int64_t p = 0; p < n; ++p) f(p, batch.parts[p], p + 1 < n ? batch.parts[p + 1] : m);
}

}  // namespace zeroth
