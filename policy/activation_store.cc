#include "policy/activation_store.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "core/parallel.h"
#include "core/stream_copy.h"
#include "policy/decoder.h"

namespace zeroth {
namespace {

constexpr int64_t kBlockBytes = 32 << 20;  // memory is taken in pieces of about this size
constexpr int64_t kLine = 64;

// One tensor of a layer's state, seen by the row: kRow is [m] of `bytes`, kColumn [bytes / 4, m]
// floats, kChoice [m * top_k, sorted by expert] of `bytes`.
struct Field {
  char* data;
  int64_t bytes;
  SavedOrder order;
  bool in_lines() const { return bytes % kLine == 0 && order != SavedOrder::kColumn; }
};

// What layer_forward leaves for `m` rows: its output and its state. First the fields of whole cache
// lines, which can be streamed, then the others.
std::vector<Field> fields_of(const PolicyConfig& c, int layer, LayerState& state, float* x_out,
                             int64_t m) {
  const LayerWidths widths(c, layer);
  std::vector<Field> out = {{reinterpret_cast<char*>(x_out),
                             c.width * static_cast<int64_t>(sizeof(float)), SavedOrder::kRow}};
  state.each(widths, [&](const SavedField& field, auto& member) {
    if constexpr (requires { member.get(m); }) {
      if (field.width == 0) return;
      const int64_t rows = field.order == SavedOrder::kChoice ? m * widths.choices : m;
      auto* data = member.get(rows * field.width);
      out.push_back({reinterpret_cast<char*>(data),
                     field.width * static_cast<int64_t>(sizeof(*data)), field.order});
    }
  });
  std::stable_partition(out.begin(), out.end(), [](const Field& f) { return f.in_lines(); });
  return out;
}

// Bytes of one row in a layer's part of a stored row.
int64_t field_bytes(const PolicyConfig& c, const Field& f) {
  return f.bytes * (f.order == SavedOrder::kChoice ? c.router.top_k : 1);
}

int64_t layer_bytes(const PolicyConfig& c, int layer) {
  LayerState none;
  int64_t bytes = 0;
  for (const Field& f : fields_of(c, layer, none, nullptr, 0)) bytes += field_bytes(c, f);
  return (bytes + kLine - 1) / kLine * kLine;
}

constexpr int64_t kRowsATask = 8;  // of a small model some 50 KB

// Asks for bytes that will be copied soon.
void fetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i, 0, 2);
}

}  // namespace

ActivationStore::ActivationStore(int64_t max_bytes) : max_bytes_(max_bytes) {}
ActivationStore::~ActivationStore() = default;

void ActivationStore::begin(const Weights& weights) {
  static std::atomic<int64_t> epochs{0};
  const PolicyConfig& c = weights.config();
  std::vector<int64_t> begin = {0};
  for (int l = 0; l < c.layers; ++l) begin.push_back(begin.back() + layer_bytes(c, l));
  if (begin.back() != row_bytes()) blocks_.clear();
  layer_begin_ = std::move(begin);
  block_rows_ = std::max<int64_t>(1, std::min(kBlockBytes, max_bytes_) / row_bytes());
  rows_ = 0;
  weights_id_ = weights.id();
  epoch_ = ++epochs;
}

bool ActivationStore::holds(const Weights& weights) const { return weights_id_ == weights.id(); }

int64_t ActivationStore::block_bytes() const {
  constexpr int64_t kLarge = kLargePage;
  const int64_t used = block_rows_ * row_bytes(), unit = used < kLarge ? kLine : kLarge;
  return (used + unit - 1) / unit * unit;
}

int64_t ActivationStore::bytes() const {
  return static_cast<int64_t>(blocks_.size()) * block_bytes();
}

int32_t ActivationStore::take() {
  if (rows_ == static_cast<int64_t>(blocks_.size()) * block_rows_) {
    const int64_t block = block_bytes();
    if (bytes() + block > max_bytes_ || rows_ + block_rows_ > INT32_MAX) return -1;
    // Neighbours in a training batch lie far apart here: large pages spare the walks to them.
    blocks_.push_back(allocate_array<char>(block));
  }
  return static_cast<int32_t>(rows_++);
}

char* ActivationStore::row(int32_t number) {
  return blocks_[number / block_rows_].get() + number % block_rows_ * row_bytes();
}

const char* ActivationStore::row(int32_t number) const {
  return const_cast<ActivationStore*>(this)->row(number);
}

void store_layer(const PolicyConfig& c, int layer, LayerState& state, float* x_out,
                 ActivationStore& store, std::span<const int32_t> rows) {
  const int64_t m = static_cast<int64_t>(rows.size()), top_k = c.router.top_k;
  const std::vector<Field> fields = fields_of(c, layer, state, x_out, m);
  const int64_t begin_at = store.layer_begin(layer);
  const int64_t bytes = store.layer_begin(layer + 1) - begin_at;
  std::vector<int32_t> place;  // of every choice among those sorted by expert
  if (c.sparse[layer]) {
    place.resize(state.order.size());
    for (size_t i = 0; i < state.order.size(); ++i) place[state.order[i]] = static_cast<int32_t>(i);
  }
  parallel_for(m, kRowsATask, [&](int64_t begin, int64_t end) {
    // Fields that are not whole lines are put together in the cache first.
    thread_local Buffer<char> buffer;
    char* const rest = buffer.get(bytes);
    for (int64_t i = begin; i < end; ++i) {
      if (rows[i] < 0) continue;
      char* to = store.row(rows[i]) + begin_at;
      char* const row_end = to + bytes;
      char* small = rest;
      for (const Field& f : fields) {
        for (int64_t j = 0; j < field_bytes(c, f);
             j += f.order == SavedOrder::kColumn ? 4 : f.bytes) {
          if (f.order == SavedOrder::kColumn) {
            std::memcpy(small, f.data + j * m + i * 4, 4);
            small += 4;
            continue;
          }
          const int64_t from = f.order == SavedOrder::kRow ? i : place[i * top_k + j / f.bytes];
          if (f.in_lines()) {
            stream_copy(to, f.data + from * f.bytes, f.bytes);
            to += f.bytes;
          } else {
            std::memcpy(small, f.data + from * f.bytes, f.bytes);
            small += f.bytes;
          }
        }
      }
      stream_copy(to, rest, row_end - to);
    }
    stream_fence();
  });
}

void recall_layer(const Pass& pass, int layer, const ActivationStore& store,
                  std::span<const int32_t> rows, LayerState& state, float* x_out) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, top_k = c.router.top_k;
  const std::vector<Field> fields = fields_of(c, layer, state, x_out, m);
  const int64_t begin_at = store.layer_begin(layer);
  Field choices{nullptr, 0, SavedOrder::kChoice};
  int64_t choices_at = begin_at;  // within a stored row
  for (const Field& f : fields) {
    if (f.order == SavedOrder::kChoice) {
      choices = f;
      break;
    }
    choices_at += f.bytes;
  }
  // First what stands in the order of rows; it says how the choices are sorted. A batch's
  // activations are larger than the caches, so they are streamed too.
  parallel_for(m, kRowsATask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* from = store.row(rows[i]) + begin_at;
      if (i + 1 < m) fetch(store.row(rows[i + 1]) + begin_at, choices_at - begin_at);
      for (const Field& f : fields) {
        if (f.order == SavedOrder::kColumn) {
          for (int64_t j = 0; j < f.bytes; j += 4) std::memcpy(f.data + j * m + i * 4, from + j, 4);
        } else if (f.order == SavedOrder::kRow && f.in_lines()) {
          stream_copy(f.data + i * f.bytes, from, f.bytes);
        } else if (f.order == SavedOrder::kRow) {
          std::memcpy(f.data + i * f.bytes, from, f.bytes);
        }
        from += field_bytes(c, f);
      }
    }
    stream_fence();
  });
  if (choices.data) {
    pass.ops.expert_sort(state.expert_ids.data(), m, c.router.top_k, c.router.experts,
                         state.offsets, state.order);
    const auto choice_at = [&](int64_t i) {
      const int32_t choice = state.order[i];
      return store.row(rows[choice / top_k]) + choices_at + choice % top_k * choices.bytes;
    };
    parallel_for(m * top_k, 2 * kRowsATask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const char* from = choice_at(i);
        if (i + 2 < m * top_k) fetch(choice_at(i + 2), choices.bytes);
        char* to = choices.data + i * choices.bytes;
        if (choices.in_lines()) {
          stream_copy(to, from, choices.bytes);
        } else {
          std::memcpy(to, from, choices.bytes);
        }
      }
      stream_fence();
    });
  }
  if (c.is_latent()) {
    latent_attention_cache(pass, layer, state);
  } else {
    attention_cache(pass, layer, state);
  }
}

}  // namespace zeroth
