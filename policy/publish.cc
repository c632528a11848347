// From parameters to the packed weights that forward reads.
#include <algorithm>
#include <vector>

#include "policy/decoder.h"

namespace zeroth {
namespace {

using kernels::PackedMatrix;

// Values of the flat buffer: they are there, or they are read from a checkpoint on the way; then
// they go to their place, or, when they are not kept, to memory of the calling thread.
class Values {
 public:
  Values(const std::vector<ParameterInfo>& infos, const WeightSource* source, float* keep)
      : infos_(infos), source_(source), flat_(keep) {}
  explicit Values(const std::vector<ParameterInfo>& infos, const float* values)
      : infos_(infos), flat_(const_cast<float*>(values)) {}

  // [offset, offset + count): whole rows of a matrix. Valid until the thread's next call.
  const float* get(int64_t offset, int64_t count) const {
    if (!source_) return flat_ + offset;
    thread_local Floats block;
    float* out = flat_ ? flat_ + offset : block.get(count);
    auto info = at(offset);
    for (int64_t done = 0; done < count; ++info) {  // fused matrices are several tensors
      const int64_t first = offset + done - info->offset;
      const int64_t n = std::min(count - done, info->count - first);
      source_->read(info - infos_.begin(), first, std::span(out + done, n));
      done += n;
    }
    return out;
  }
  // In which order pieces are best read.
  uint64_t place(int64_t offset) const {
    return source_ ? source_->place(at(offset) - infos_.begin()) : static_cast<uint64_t>(offset);
  }

 private:
  // The parameter that holds the value at `offset`.
  std::vector<ParameterInfo>::const_iterator at(int64_t offset) const {
    return std::upper_bound(infos_.begin(), infos_.end(), offset,
                            [](int64_t o, const ParameterInfo& info) { return o < info.offset; }) -
           1;
  }

  const std::vector<ParameterInfo>& infos_;
  const WeightSource* source_ = nullptr;
  float* flat_;
};

// Everything that has to be copied or packed, in pieces that stay in a core's cache.
class Plan {
 public:
  void copy(float* to, int64_t offset, int64_t count, int64_t row = 1) {
    const int64_t step = std::max(row, kReadPiece / row * row);
    for (int64_t at = 0; at < count; at += step) {
      pieces_.push_back({nullptr, to + at, offset + at, 0, std::min(step, count - at)});
    }
  }
  void vector(std::vector<float>& to, int64_t offset, int64_t count) {
    if (offset < 0) return;
    to.resize(count);
    copy(to.data(), offset, count);
  }
  // Matrices lie in memory in the order of these calls.
  void matrix(PackedMatrix& to, const Matrix& from) {
    matrices_.push_back({&to, from.out, from.in});
    const int64_t panel = PackedMatrix::kPackRows * from.in;
    const int64_t rows = std::max<int64_t>(1, kReadPiece / panel) * PackedMatrix::kPackRows;
    for (int64_t row = 0; row < from.out; row += rows) {
      pieces_.push_back({&to, nullptr, from.weight + row * from.in, row,
                         std::min<int64_t>(rows, from.out - row)});
    }
  }
  void linear(Linear& to, const Matrix& from) {
    if (!from.present()) return;
    matrix(to.weight, from);
    vector(to.bias, from.bias, from.out);
  }
  void mlp(PublishedMlp& to, const GatedMlp& from) {
    linear(to.gate_up, from.gate_up);
    linear(to.down, from.down);
  }
  // Takes `memory` for the matrices.
  void run(const Values& values, Memory<float>& memory) {
    place_matrices(memory);
    for (Piece& piece : pieces_) piece.place = values.place(piece.offset);
    for_each_by_place(pieces_, [&](const Piece& piece) {
      if (piece.matrix) {
        const int64_t in = piece.matrix->in();
        const float* rows = values.get(piece.offset, piece.count * in);
        piece.matrix->pack_rows(piece.row, piece.count, rows, in);
      } else {
        std::copy_n(values.get(piece.offset, piece.count), piece.count, piece.vector);
      }
    });
  }

 private:
  void place_matrices(Memory<float>& memory) {
    int64_t floats = 0;
    for (const Placed& m : matrices_) floats += PackedMatrix::packed_floats(m.out, m.in);
    if (!memory) memory = allocate_array<float>(floats);  // of one layout, always
    float* at = memory.get();
    for (const Placed& m : matrices_) {
      m.matrix->resize(m.out, m.in, at);
      at += PackedMatrix::packed_floats(m.out, m.in);
    }
  }

  struct Placed {
    PackedMatrix* matrix;
    int64_t out, in;
  };
  struct Piece {
    PackedMatrix* matrix;
    float* vector;               // else
    int64_t offset, row, count;  // rows of a matrix, values of a vector
    uint64_t place = 0;
  };
  std::vector<Placed> matrices_;
  std::vector<Piece> pieces_;
};

void plan_layer(const PolicyConfig& c, const LayerLayout& from, PublishedLayer& to, Plan& plan) {
  const bool per_head = c.qk_norm == QkNorm::kPerHead;
  plan.vector(to.input_norm, from.input_norm, c.width);
  plan.vector(to.post_norm, from.post_norm, c.width);
  plan.vector(to.q_norm, from.q_norm, per_head ? c.head_dim : c.heads * c.head_dim);
  plan.vector(to.k_norm, from.k_norm, per_head ? c.head_dim : c.kv_heads * c.head_dim);
  plan.vector(to.q_latent_norm, from.q_latent_norm, c.latent.q_rank);
  plan.vector(to.kv_latent_norm, from.kv_latent_norm, c.latent.kv_rank);
  plan.vector(to.selection_bias, from.selection_bias, c.router.experts);
  plan.linear(to.qkv, from.qkv);
  plan.linear(to.q_in, from.q_in);
  plan.linear(to.q_up, from.q_up);
  plan.linear(to.kv_in, from.kv_in);
  plan.linear(to.kv_up, from.kv_up);
  plan.linear(to.o, from.o);
  plan.linear(to.router, from.router);
  plan.linear(to.shared_gate, from.shared_gate);
  plan.mlp(to.mlp, from.mlp);
  plan.mlp(to.shared, from.shared);
  to.experts.resize(from.experts.size());
  to.expert_gate_up.clear();
  to.expert_down.clear();
  for (size_t e = 0; e < from.experts.size(); ++e) {
    plan.linear(to.experts[e].gate_up, from.experts[e].gate_up);
    to.expert_gate_up.push_back(&to.experts[e].gate_up.weight);
  }
  for (size_t e = 0; e < from.experts.size(); ++e) {
    plan.linear(to.experts[e].down, from.experts[e].down);
    to.expert_down.push_back(&to.experts[e].down.weight);
  }
}

void publish(const Values& values, const PolicyConfig& c, const Layout& layout,
             PublishedModel& model) {
  Plan plan;
  model.tied = layout.head.weight == layout.embedding;
  if (!model.tied) {
    const int64_t count = int64_t{c.vocab_size} * c.width;
    plan.copy(model.embedding.get(count), layout.embedding, count, c.width);
  }
  model.layers.resize(c.layers);
  for (int l = 0; l < c.layers; ++l) plan_layer(c, layout.layers[l], model.layers[l], plan);
  plan.vector(model.final_norm, layout.final_norm, c.width);
  plan.matrix(model.head, layout.head);
  plan.run(values, model.packed);
}

}  // namespace

void publish_values(const float* values, const PolicyConfig& config, const Layout& layout,
                    PublishedModel& model) {
  publish(Values(layout.infos, values), config, layout, model);
}

void publish_from(const WeightSource& source, const PolicyConfig& config, const Layout& layout,
                  float* keep, PublishedModel& model) {
  publish(Values(layout.infos, &source, keep), config, layout, model);
}

void embed(const PublishedModel& model, int64_t width, std::span<const TokenId> tokens, float* x) {
  const auto m = static_cast<int64_t>(tokens.size());
  if (model.tied) {
    kernels::embedding(model.head, tokens.data(), x, m);
  } else {
    kernels::embedding(model.embedding.data(), width, tokens.data(), x, m);
  }
}

}  // namespace zeroth
