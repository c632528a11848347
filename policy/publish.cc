// From parameters to the packed weights that forward reads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <vector>

#include "core/error.h"
#include "core/sha256.h"
#include "model/buffer.h"
#include "policy/image_rows.h"
#include "policy/published.h"

namespace zeroth {
namespace {

using kernels::At;
using kernels::Bfloat16;
using kernels::Element;
using kernels::EmbeddingTable;
using kernels::Operators;
using kernels::PackedMatrix;
using kernels::View;

// Values of a piece of work. As floats, and beside what they are packed to, they stay in the cache of
// one core: pieces of a whole cache's size cost twice the time.
constexpr int64_t kPiece = int64_t{1} << 14;
// Values of the flat buffer that are waited for at a time.
constexpr int64_t kStretch = int64_t{1} << 20;

using Arrived = std::function<void(int64_t end)>;

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
    thread_local Buffer<float> block;
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
  // Whether the parameter at `offset` keeps every bit.
  bool exact(int64_t offset) const { return at(offset)->exact(); }
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

// Which of the experts are here.
struct OwnExperts {
  int begin, end;
  explicit OwnExperts(const Architecture& a) : begin(0), end(a.config.router.experts) {
    if (!a.experts.exchange) return;
    const int rank = a.experts.exchange->rank(), all = end;
    begin = a.experts.exchange->begin_of(all, rank);
    end = a.experts.exchange->end_of(all, rank);
  }
};

template <class Visitor, class L>
void visit_linear(Visitor& v, L& to, const Matrix& from) {
  if (!from.present()) return;
  v.matrix(to.weight, from);
  v.vector(to.bias, from.bias, from.out);
}

// Calls v.matrix(packed, matrix) with a matrix that may be gone afterwards, v.vector(values, offset,
// count), and once v.table(table, offset, rows, width), for every part that is published; matrices
// in the order in which forward reads them. Layer: PublishedLayer, const or not. `latents` may be
// null.
template <class Visitor, class Layer, class Latents>
void visit_layer(Visitor& v, const PolicyConfig& c, OwnExperts own, const LayerLayout& from,
                 Layer& to, Latents* latents) {
  const bool per_head = c.qk_norm == QkNorm::kPerHead;
  v.vector(to.input_norm, from.input_norm, c.width);
  v.vector(to.post_norm, from.post_norm, c.width);
  v.vector(to.attention_out_norm, from.attention_out_norm, c.width);
  v.vector(to.mlp_out_norm, from.mlp_out_norm, c.width);
  v.vector(to.q_norm, from.q_norm, per_head ? c.head_dim : c.heads * c.head_dim);
  v.vector(to.k_norm, from.k_norm, per_head ? c.head_dim : c.kv_heads * c.head_dim);
  v.vector(to.q_latent_norm, from.q_latent_norm, c.latent.q_rank);
  v.vector(to.kv_latent_norm, from.kv_latent_norm, c.latent.kv_rank);
  v.vector(to.sinks, from.sinks, c.heads);
  v.vector(to.conv, from.conv, c.delta.channels() * c.delta_taps);
  v.vector(to.a_log, from.a_log, c.delta.value_heads);
  v.vector(to.dt_bias, from.dt_bias, c.delta.value_heads);
  v.vector(to.delta_norm, from.delta_norm, c.delta.value_dim);
  v.vector(to.selection_bias, from.selection_bias, c.router.experts);
  v.vector(to.expert_gate_up_bias, from.expert_gate_up_bias,
           2 * int64_t{c.router.experts} * c.expert_width);
  v.vector(to.expert_down_bias, from.expert_down_bias, int64_t{c.router.experts} * c.width);
  const auto linear = [&](auto& matrix, const Matrix& place) { visit_linear(v, matrix, place); };
  linear(to.delta_in, from.delta_in);
  linear(to.qkv, from.qkv);
  linear(to.q_in, from.q_in);
  linear(to.q_up, from.q_up);
  linear(to.kv_in, from.kv_in);
  if (latents != nullptr) {
    for (int h = 0; h < c.heads; ++h) {
      linear(latents->keys[h], latent_keys_of(c, from.kv_up, h));
      linear(latents->values[h], latent_values_of(c, from.kv_up, h));
    }
  } else {
    linear(to.kv_up, from.kv_up);
  }
  linear(to.o, from.o);
  linear(to.router, from.router);
  linear(to.shared_gate, from.shared_gate);
  linear(to.mlp.gate_up, from.mlp.gate_up);
  linear(to.mlp.down, from.mlp.down);
  linear(to.shared.gate_up, from.shared.gate_up);
  linear(to.shared.down, from.shared.down);
  if (from.experts.empty()) return;
  for (int e = own.begin; e < own.end; ++e) linear(to.experts[e].gate_up, from.experts[e].gate_up);
  for (int e = own.begin; e < own.end; ++e) linear(to.experts[e].down, from.experts[e].down);
}

template <class Visitor, class Images>
void visit_images(Visitor& v, const Architecture& architecture, Images& to) {
  const CodeLayout& from = architecture.images;
  const ImageCodes& codes = architecture.codes;
  v.vector(to.embed, from.embed, int64_t{codes.codes} * codes.code_width);
  visit_linear(v, to.aligner_in, from.aligner_in);
  visit_linear(v, to.aligner_out, from.aligner_out);
  visit_linear(v, to.projector, from.projector);
  visit_linear(v, to.head, from.head);
}

template <class Visitor, class Model>
void visit_model(Visitor& v, const Architecture& architecture, Model& model) {
  const PolicyConfig& c = architecture.config;
  const Layout& layout = architecture.layout;
  const OwnExperts own(architecture);
  if (!model.tied) {
    v.table(model.embedding, layout.embedding, text_vocab(c), c.width);
  }
  for (int l = 0; l < c.layers; ++l)
    visit_layer(v, c, own, layout.layers[l], model.layers[l],
                model.latents.empty() ? nullptr : &model.latents[l]);
  v.vector(model.final_norm, layout.final_norm, c.width);
  v.matrix(model.head, layout.head);
  if (architecture.codes.present()) visit_images(v, architecture, model.images);
}

// Gives every part its place in one block, and fills it in pieces that stay in a core's cache. The
// layout and the model must outlive it.
class Plan {
 public:
  Plan(const Operators& ops, Element element) : ops_(ops), element_(element) {}

  void vector(View<const float>& to, int64_t offset, int64_t count) {
    if (offset >= 0) vectors_.push_back({&to, offset, count});
  }
  void table(EmbeddingTable& to, int64_t offset, int64_t rows, int64_t width) {
    tables_.push_back({&to, offset, rows, width});
  }
  void matrix(PackedMatrix& to, const Matrix& from) { matrices_.push_back({&to, from}); }

  int64_t floats() const {
    int64_t n = 0;
    for (const Placed& m : matrices_) n += floats_of(m);
    for (const Table& t : tables_) n += floats_of(t);
    for (const Vector& v : vectors_) n += aligned(v.count);
    return n;
  }
  // `memory` [floats()]: matrices first, in the order of their calls. `arrived`: see Policy::publish.
  void fill(const Values& values, At<float> memory, const Arrived& arrived) const {
    std::vector<Piece> pieces;
    for (const Placed& m : matrices_) {
      m.to->place(m.from.out, m.from.in, element_, memory);
      memory += floats_of(m);
      cut(
          m.from.weight, m.from.out, m.from.in, kernels::kPackRows,
          [this, matrix = m.to](const float* rows, int64_t first, int64_t count) {
            ops_.pack_rows(*matrix, first, count, rows, matrix->in());
          },
          pieces);
    }
    for (const Table& t : tables_) {
      cut(t.offset, t.rows, t.width, 1, place(t, memory), pieces);
      memory += floats_of(t);
    }
    for (const Vector& v : vectors_) {
      *v.to = {memory, static_cast<size_t>(v.count)};
      const bool narrow = element_ == Element::kBfloat16 && !values.exact(v.offset);
      cut(
          v.offset, v.count, 1, 1,
          [this, memory, narrow](const float* from, int64_t first, int64_t count) {
            copy_in(ops_.device(), memory + first, narrow ? rounded(from, count) : from, count);
          },
          pieces);
      memory += aligned(v.count);
    }
    for (Piece& piece : pieces) piece.place = values.place(piece.offset);
    const auto use = [&](const Piece& piece) {
      piece.use(values.get(piece.offset, piece.count * piece.width), piece.row, piece.count);
    };
    if (!arrived) return for_each_by_place(pieces, use);
    std::stable_sort(pieces.begin(), pieces.end(),
                     [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
    for (size_t first = 0, last = 0; first < pieces.size(); first = last) {
      const int64_t most = pieces[first].offset + kStretch;
      int64_t end = 0;
      for (; last < pieces.size() && pieces[last].offset < most; ++last)
        end = std::max(end, pieces[last].offset + pieces[last].count * pieces[last].width);
      arrived(end);
      parallel_in_order(static_cast<int64_t>(last - first),
                        [&](int64_t i) { use(pieces[first + static_cast<size_t>(i)]); });
    }
  }

 private:
  struct Placed {
    PackedMatrix* to;
    Matrix from;
  };
  struct Table {
    EmbeddingTable* to;
    int64_t offset, rows, width;
  };
  struct Vector {
    View<const float>* to;
    int64_t offset, count;
  };
  // Takes the values of rows [row, row + count).
  using Use = std::function<void(const float* values, int64_t row, int64_t count)>;
  struct Piece {
    int64_t offset, row, count, width;
    Use use;
    uint64_t place = 0;
  };

  static int64_t aligned(int64_t floats) { return (floats + 15) / 16 * 16; }  // to cache lines
  int64_t floats_of(const Placed& m) const {
    return aligned(ops_.packed_floats(m.from.out, m.from.in, element_));
  }
  int64_t floats_of(const Table& t) const {
    const int64_t values = t.rows * t.width;
    return aligned(element_ == Element::kFloat32 ? values : (values + 1) / 2);
  }
  Use place(const Table& t, At<float> memory) const {
    if (element_ == Element::kFloat32) {
      t.to->floats = memory;
      return [this, memory, width = t.width](const float* from, int64_t row, int64_t count) {
        copy_in(ops_.device(), memory + row * width, from, count * width);
      };
    }
    const At<Bfloat16> halves = memory.as<Bfloat16>();
    t.to->halves = halves;
    return [this, halves, width = t.width](const float* from, int64_t row, int64_t count) {
      copy_in(ops_.device(), halves + row * width, narrowed(from, count * width), count * width);
    };
  }
  // Values as bfloat16, and back; the calling thread's until the next call.
  static const Bfloat16* narrowed(const float* from, int64_t count) {
    thread_local Buffer<Bfloat16> block;
    Bfloat16* halves = block.get(count);
    kernels::narrow(from, halves, count);
    return halves;
  }
  static const float* rounded(const float* from, int64_t count) {
    thread_local Buffer<float> block;
    float* to = block.get(count);
    kernels::widen(narrowed(from, count), to, count);
    return to;
  }
  // Rows in pieces that are a multiple of `step` rows, but for the last.
  static void cut(int64_t offset, int64_t rows, int64_t width, int64_t step, const Use& use,
                  std::vector<Piece>& pieces) {
    const int64_t most = std::max<int64_t>(1, kPiece / (step * width)) * step;
    for (int64_t row = 0; row < rows; row += most) {
      pieces.push_back({offset + row * width, row, std::min(most, rows - row), width, use});
    }
  }

  const Operators& ops_;
  Element element_;
  std::vector<Placed> matrices_;
  std::vector<Table> tables_;
  std::vector<Vector> vectors_;
};

WeightsPtr publish(std::shared_ptr<const Architecture> architecture, const Values& values,
                   WeightsVersion version, const Arrived& arrived = {}) {
  static std::atomic<int64_t> publications{0};
  const PolicyConfig& c = architecture->config;
  const Layout& layout = architecture->layout;
  auto impl = std::make_unique<WeightsImpl>();
  impl->version = version;
  impl->id = ++publications;
  PublishedModel& model = impl->model;
  model.tied = layout.head.weight == layout.embedding;
  model.layers.resize(c.layers);
  if (c.absorbed()) {
    model.latents.resize(c.layers);
    for (PublishedLatents& latents : model.latents) {
      latents.keys.resize(c.heads);
      latents.values.resize(c.heads);
    }
  }
  for (int l = 0; l < c.layers; ++l) {
    PublishedLayer& layer = model.layers[l];
    layer.experts.resize(layout.layers[l].experts.size());
    for (const PublishedMlp& expert : layer.experts) {
      layer.expert_gate_up.push_back(&expert.gate_up.weight);
      layer.expert_down.push_back(&expert.down.weight);
    }
  }
  Plan plan(architecture->ops, architecture->element);
  visit_model(plan, *architecture, model);
  model.block = architecture->take_block(plan.floats() * static_cast<int64_t>(sizeof(float)));
  plan.fill(values, model.block.data().as<float>(), arrived);
  if (model.tied) model.embedding.packed = &model.head;
  if (architecture->codes.present()) derive_images(*architecture, model.images);
  model.exchange = architecture->experts.exchange;
  model.place = {architecture->experts.model, version};
  impl->architecture = std::move(architecture);
  return std::make_shared<const Weights>(std::move(impl));
}

// Where published values lie, by their offset in the flat buffer.
class Published {
 public:
  explicit Published(const Operators& ops) : ops_(ops) {}
  void vector(const View<const float>& values, int64_t offset, int64_t) {
    if (offset < 0) return;
    parts_.push_back(
        {offset, 1, [this, from = values.data()](int64_t first, int64_t count, float* to) {
           copy_out(ops_.device(), to, from + first, count);
         }});
  }
  void table(const EmbeddingTable& table, int64_t offset, int64_t, int64_t width) {
    parts_.push_back({offset, width, [this, table, width](int64_t row, int64_t rows, float* to) {
                        const int64_t first = row * width, count = rows * width;
                        if (table.floats) {
                          copy_out(ops_.device(), to, table.floats + first, count);
                        } else {
                          const kernels::OnHost<Bfloat16> halves(ops_.device(),
                                                                 table.halves + first, count);
                          kernels::widen(halves.values().data(), to, count);
                        }
                      }});
  }
  void matrix(const PackedMatrix& packed, const Matrix& from) {
    parts_.push_back({from.weight, from.in, [this, &packed](int64_t row, int64_t rows, float* to) {
                        ops_.unpack_rows(packed, row, rows, to);
                      }});
  }
  void sort() {
    std::sort(parts_.begin(), parts_.end(),
              [](const Part& a, const Part& b) { return a.offset < b.offset; });
  }
  // use(span) for the parameter's values in row-major order, piece by piece.
  template <class Use>
  void read(const ParameterInfo& info, const Use& use) const {
    const int64_t last = info.offset + info.count;
    auto part = std::upper_bound(parts_.begin(), parts_.end(), info.offset,
                                 [](int64_t o, const Part& p) { return o < p.offset; }) -
                1;
    // Of one part, or of several on top of each other.
    for (int64_t at = info.offset; at < last; ++part) {
      const int64_t end = part + 1 == parts_.end() ? last : std::min(last, (part + 1)->offset);
      read_rows(*part, at - part->offset, end - part->offset, use);
      at = end;
    }
  }

 private:
  struct Part {
    int64_t offset, width;
    std::function<void(int64_t row, int64_t rows, float* to)> rows;
  };
  // Values [first, last) of a part: whole rows.
  template <class Use>
  static void read_rows(const Part& part, int64_t first, int64_t last, const Use& use) {
    const int64_t width = part.width;
    // Rows of whole panels.
    const int64_t step =
        std::max<int64_t>(1, kPiece / (kernels::kPackRows * width)) * kernels::kPackRows;
    thread_local Buffer<float> block;
    for (int64_t row = first / width, end = last / width; row < end; row += step) {
      const int64_t rows = std::min(step, end - row);
      float* values = block.get(rows * width);
      part.rows(row, rows, values);
      use(std::span<const float>(values, rows * width));
    }
  }

  const Operators& ops_;
  std::vector<Part> parts_;
};

void check_whole(const Architecture& architecture) {
  if (!architecture.experts.exchange) return;
  fail("these weights are not all on one rank: each has its share of the experts",
       "read them from a checkpoint, or train without ranks.expert_parallel");
}

}  // namespace

WeightsPtr publish_values(std::shared_ptr<const Architecture> architecture, const float* values,
                          WeightsVersion version, const Arrived& arrived) {
  const Values from(architecture->layout.infos, values);
  return publish(std::move(architecture), from, version, arrived);
}

WeightsPtr publish_from(std::shared_ptr<const Architecture> architecture,
                        const WeightSource& source, float* keep, WeightsVersion version) {
  const Values from(architecture->layout.infos, &source, keep);
  return publish(std::move(architecture), from, version);
}

std::string hash_of(const PublishedModel& model, const Architecture& architecture) {
  static_assert(std::endian::native == std::endian::little);
  check_whole(architecture);
  Published published(architecture.ops);
  visit_model(published, architecture, model);
  published.sort();
  const std::vector<ParameterInfo>& infos = architecture.layout.infos;
  std::vector<std::string> lines(infos.size());
  parallel_in_order(static_cast<int64_t>(infos.size()), [&](int64_t i) {
    const bool narrow = published_narrow(infos[i], architecture.element);
    Sha256 hash;
    published.read(infos[i], [&](std::span<const float> values) {
      if (!narrow) return hash.update(values.data(), values.size_bytes());
      std::vector<Bfloat16> halves(values.size());
      kernels::narrow(values.data(), halves.data(), static_cast<int64_t>(values.size()));
      hash.update(halves.data(), halves.size() * sizeof(Bfloat16));
    });
    lines[i] = tensor_line(infos[i].name, infos[i].shape, narrow, hash.hex());
  });
  return hash_of_lines(std::move(lines));
}

std::string hash_of_lines(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  Sha256 hash;
  for (const std::string& line : lines) hash.update(line);
  return hash.hex();
}

bool published_narrow(const ParameterInfo& info, Element element) {
  return element == Element::kBfloat16 && !info.exact();
}

std::string tensor_line(const std::string& name, const std::vector<int64_t>& shape, bool narrow,
                        const std::string& sha256) {
  std::string sizes;
  for (const int64_t n : shape) sizes += (sizes.empty() ? "" : ",") + std::to_string(n);
  return name + (narrow ? " BF16 [" : " F32 [") + sizes + "] " + sha256 + "\n";
}

void read_published(const WeightsImpl& weights,
                    const std::function<void(size_t, int64_t, std::span<const float>)>& use) {
  const Architecture& a = *weights.architecture;
  check_whole(a);
  Published published(a.ops);
  visit_model(published, a, weights.model);
  published.sort();
  parallel_in_order(static_cast<int64_t>(a.layout.infos.size()), [&](int64_t i) {
    int64_t first = 0;
    published.read(a.layout.infos[i], [&](std::span<const float> values) {
      use(static_cast<size_t>(i), first, values);
      first += static_cast<int64_t>(values.size());
    });
  });
}

}  // namespace zeroth
