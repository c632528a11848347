// From parameters to the packed weights that forward reads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <numeric>
#include <vector>

#include "core/sha256.h"
#include "policy/published.h"

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

// Calls v.matrix(packed, matrix), v.vector(values, offset, count) for every part that a layer has;
// matrices in the order in which forward reads them. Layer: PublishedLayer, const or not.
template <class Visitor, class Layer>
void visit_layer(Visitor& v, const PolicyConfig& c, const LayerLayout& from, Layer& to) {
  const bool per_head = c.qk_norm == QkNorm::kPerHead;
  v.vector(to.input_norm, from.input_norm, c.width);
  v.vector(to.post_norm, from.post_norm, c.width);
  v.vector(to.q_norm, from.q_norm, per_head ? c.head_dim : c.heads * c.head_dim);
  v.vector(to.k_norm, from.k_norm, per_head ? c.head_dim : c.kv_heads * c.head_dim);
  v.vector(to.q_latent_norm, from.q_latent_norm, c.latent.q_rank);
  v.vector(to.kv_latent_norm, from.kv_latent_norm, c.latent.kv_rank);
  v.vector(to.selection_bias, from.selection_bias, c.router.experts);
  const auto linear = [&](auto& matrix, const Matrix& place) {
    if (!place.present()) return;
    v.matrix(matrix.weight, place);
    v.vector(matrix.bias, place.bias, place.out);
  };
  linear(to.qkv, from.qkv);
  linear(to.q_in, from.q_in);
  linear(to.q_up, from.q_up);
  linear(to.kv_in, from.kv_in);
  linear(to.kv_up, from.kv_up);
  linear(to.o, from.o);
  linear(to.router, from.router);
  linear(to.shared_gate, from.shared_gate);
  linear(to.mlp.gate_up, from.mlp.gate_up);
  linear(to.mlp.down, from.mlp.down);
  linear(to.shared.gate_up, from.shared.gate_up);
  linear(to.shared.down, from.shared.down);
  for (size_t e = 0; e < from.experts.size(); ++e)
    linear(to.experts[e].gate_up, from.experts[e].gate_up);
  for (size_t e = 0; e < from.experts.size(); ++e) linear(to.experts[e].down, from.experts[e].down);
}

template <class Visitor, class Model>
void visit_model(Visitor& v, const PolicyConfig& c, const Layout& layout, Model& model) {
  if (!model.tied) {
    v.vector(model.embedding, layout.embedding, int64_t{c.vocab_size} * c.width, c.width);
  }
  for (int l = 0; l < c.layers; ++l) visit_layer(v, c, layout.layers[l], model.layers[l]);
  v.vector(model.final_norm, layout.final_norm, c.width);
  v.matrix(model.head, layout.head);
}

// Gives every part its place in one block, and fills it in pieces that stay in a core's cache. The
// layout and the model must outlive it.
class Plan {
 public:
  // `row`: values that are read together.
  void vector(std::span<const float>& to, int64_t offset, int64_t count, int64_t row = 1) {
    if (offset >= 0) vectors_.push_back({&to, offset, count, row});
  }
  void matrix(PackedMatrix& to, const Matrix& from) { matrices_.push_back({&to, &from}); }

  int64_t floats() const {
    int64_t n = 0;
    for (const Placed& m : matrices_) n += PackedMatrix::packed_floats(m.from->out, m.from->in);
    for (const Vector& v : vectors_) n += aligned(v.count);
    return n;
  }
  // `memory` [floats()]: matrices first, in the order of their calls.
  void fill(const Values& values, float* memory) const {
    std::vector<Piece> pieces;
    for (const Placed& m : matrices_) {
      m.to->resize(m.from->out, m.from->in, memory);
      memory += PackedMatrix::packed_floats(m.from->out, m.from->in);
      cut_matrix(m, pieces);
    }
    for (const Vector& v : vectors_) {
      *v.to = {memory, static_cast<size_t>(v.count)};
      const int64_t step = std::max(v.row, kReadPiece / v.row * v.row);
      for (int64_t at = 0; at < v.count; at += step) {
        pieces.push_back({nullptr, memory + at, v.offset + at, 0, std::min(step, v.count - at)});
      }
      memory += aligned(v.count);
    }
    for (Piece& piece : pieces) piece.place = values.place(piece.offset);
    for_each_by_place(pieces, [&](const Piece& piece) {
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
  struct Placed {
    PackedMatrix* to;
    const Matrix* from;
  };
  struct Vector {
    std::span<const float>* to;
    int64_t offset, count, row;
  };
  struct Piece {
    PackedMatrix* matrix;
    float* vector;               // else
    int64_t offset, row, count;  // rows of a matrix, values of a vector
    uint64_t place = 0;
  };

  static int64_t aligned(int64_t floats) { return (floats + 15) / 16 * 16; }  // to cache lines
  static void cut_matrix(const Placed& m, std::vector<Piece>& pieces) {
    const Matrix& from = *m.from;
    const int64_t panel = PackedMatrix::kPackRows * from.in;
    const int64_t rows = std::max<int64_t>(1, kReadPiece / panel) * PackedMatrix::kPackRows;
    for (int64_t row = 0; row < from.out; row += rows) {
      pieces.push_back({m.to, nullptr, from.weight + row * from.in, row,
                        std::min<int64_t>(rows, from.out - row)});
    }
  }

  std::vector<Placed> matrices_;
  std::vector<Vector> vectors_;
};

WeightsPtr publish(std::shared_ptr<const Architecture> architecture, const Values& values,
                   WeightsVersion version) {
  static std::atomic<int64_t> publications{0};
  const PolicyConfig& c = architecture->config;
  const Layout& layout = architecture->layout;
  auto impl = std::make_unique<WeightsImpl>();
  impl->version = version;
  impl->id = ++publications;
  PublishedModel& model = impl->model;
  model.tied = layout.head.weight == layout.embedding;
  model.layers.resize(c.layers);
  for (int l = 0; l < c.layers; ++l) {
    PublishedLayer& layer = model.layers[l];
    layer.experts.resize(layout.layers[l].experts.size());
    for (const PublishedMlp& expert : layer.experts) {
      layer.expert_gate_up.push_back(&expert.gate_up.weight);
      layer.expert_down.push_back(&expert.down.weight);
    }
  }
  Plan plan;
  visit_model(plan, c, layout, model);
  model.block = architecture->take_block(plan.floats() * static_cast<int64_t>(sizeof(float)));
  plan.fill(values, reinterpret_cast<float*>(model.block.data.get()));
  impl->architecture = std::move(architecture);
  return std::make_shared<const Weights>(std::move(impl));
}

// Where published values lie, by their offset in the flat buffer.
class Published {
 public:
  void vector(const std::span<const float>& values, int64_t offset, int64_t count, int64_t = 1) {
    if (offset >= 0) parts_.push_back({offset, count, values.data(), nullptr});
  }
  void matrix(const PackedMatrix& packed, const Matrix& from) {
    parts_.push_back({from.weight, int64_t{from.out} * from.in, nullptr, &packed});
  }
  void sort() {
    std::sort(parts_.begin(), parts_.end(),
              [](const Part& a, const Part& b) { return a.offset < b.offset; });
  }
  // use(span) for the parameter's values in row-major order, piece by piece.
  template <class Use>
  void read(const ParameterInfo& info, const Use& use) const {
    const Part& part = *(std::upper_bound(parts_.begin(), parts_.end(), info.offset,
                                          [](int64_t o, const Part& p) { return o < p.offset; }) -
                         1);
    const int64_t first = info.offset - part.offset;
    if (part.vector) return use(std::span(part.vector + first, info.count));
    const int64_t in = part.matrix->in(), step = std::max<int64_t>(1, kReadPiece / in);
    thread_local Floats block;
    std::vector<int32_t> rows;
    for (int64_t row = first / in, end = (first + info.count) / in; row < end; row += step) {
      rows.resize(std::min(step, end - row));
      std::iota(rows.begin(), rows.end(), static_cast<int32_t>(row));
      const auto m = static_cast<int64_t>(rows.size());
      float* values = block.get(m * in);
      kernels::embedding(*part.matrix, rows.data(), values, m);
      use(std::span<const float>(values, m * in));
    }
  }

 private:
  struct Part {
    int64_t offset, count;
    const float* vector;
    const PackedMatrix* matrix;  // else
  };
  std::vector<Part> parts_;
};

}  // namespace

WeightsPtr publish_values(std::shared_ptr<const Architecture> architecture, const float* values,
                          WeightsVersion version) {
  const Values from(architecture->layout.infos, values);
  return publish(std::move(architecture), from, version);
}

WeightsPtr publish_from(std::shared_ptr<const Architecture> architecture,
                        const WeightSource& source, float* keep, WeightsVersion version) {
  const Values from(architecture->layout.infos, &source, keep);
  return publish(std::move(architecture), from, version);
}

std::string hash_of(const PublishedModel& model, const PolicyConfig& config, const Layout& layout) {
  static_assert(std::endian::native == std::endian::little);
  Published published;
  visit_model(published, config, layout, model);
  published.sort();
  const std::vector<ParameterInfo>& infos = layout.infos;
  std::vector<std::string> lines(infos.size());
  parallel_in_order(static_cast<int64_t>(infos.size()), [&](int64_t i) {
    Sha256 hash;
    published.read(infos[i], [&](std::span<const float> values) {
      hash.update(values.data(), values.size_bytes());
    });
    std::string shape;
    for (const int64_t n : infos[i].shape) shape += (shape.empty() ? "" : ",") + std::to_string(n);
    lines[i] = infos[i].name + " F32 [" + shape + "] " + hash.hex() + "\n";
  });
  std::sort(lines.begin(), lines.end());
  Sha256 hash;
  for (const std::string& line : lines) hash.update(line);
  return hash.hex();
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
