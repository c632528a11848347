#include "policy/image_rows.h"

#include <algorithm>

#include "policy/decoder.h"
#include "policy/embedding_gradient.h"

namespace zeroth {

using namespace kernels;

namespace {

constexpr Gate kActivation = Gate::kGelu;

// How many ones stand in Architecture::image_constants in front of what completes a row.
int64_t ones_of(const PolicyConfig& c, const ImageCodes& codes) {
  return std::max(c.width, codes.head_width);
}

Matrix matrix_at(const Layout& layout, const std::string& name, int out, int in) {
  Matrix m;
  for (const ParameterInfo& info : layout.infos) {
    if (info.name == name + ".weight") m.weight = info.offset;
    if (info.name == name + ".bias") m.bias = info.offset;
  }
  m.out = out;
  m.in = in;
  return m;
}

}  // namespace

CodeLayout image_layout(const Layout& layout, const ImageCodes& codes) {
  CodeLayout out;
  if (!codes.present()) return out;
  const int width = layout.head.in;
  out.embed = matrix_at(layout, "gen_embed", codes.codes, codes.code_width).weight;
  out.aligner_in = matrix_at(layout, "gen_aligner.layers.0", width, codes.code_width);
  out.aligner_out = matrix_at(layout, "gen_aligner.layers.2", width, width);
  out.projector = matrix_at(layout, "gen_head.output_mlp_projector", codes.head_width, width);
  out.head = matrix_at(layout, "gen_head.vision_head", codes.codes, codes.head_width);
  return out;
}

int64_t bias_in(const ImageCodes& codes) { return (codes.head_width + 1 + 15) / 16 * 16; }

std::vector<float> image_constants(const PolicyConfig& c, const ImageCodes& codes) {
  if (!codes.present()) return {};
  std::vector<float> out(static_cast<size_t>(ones_of(c, codes)), 1.0f);
  out.resize(out.size() + static_cast<size_t>(hidden_width(c) - codes.head_width), 0.0f);
  out[static_cast<size_t>(ones_of(c, codes))] = 1;  // multiplies the bias
  out.back() = 1;                                   // says that the row is one of features
  return out;
}

void derive_images(const Architecture& a, PublishedImages& images) {
  const Operators& ops = a.ops;
  const ImageCodes& codes = a.codes;
  const int64_t n = codes.codes, width = a.config.width;
  for (Array<float>* array : {&images.gated, &images.table, &images.memory})
    array->on(ops.device());
  const At<float> gated = images.gated.get(n * 2 * width);
  images.aligner_in(ops, images.embed.data(), codes.code_width, gated, 2 * width, n);
  IndexList none;
  ops.take_rows(a.image_constants.data(), width, none.zeros(n, ops.device()), gated + width,
                2 * width, width);
  const Array<float> acts(ops.device(), n * width);
  ops.swiglu(gated, 2 * width, acts.data(), width, n, width, kActivation);
  images.aligner_out(ops, acts.data(), width, images.table.get(n * width), width, n);

  const int64_t in = codes.head_width, wide = bias_in(codes);
  std::vector<float> weight(static_cast<size_t>(n * in)), bias(static_cast<size_t>(n));
  ops.unpack_rows(images.head.weight, 0, n, weight.data());
  copy_out(ops.device(), bias.data(), images.head.bias.data(), n);
  std::vector<float> rows(static_cast<size_t>(n * wide), 0.0f);
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(weight.begin() + i * in, in, rows.begin() + i * wide);
    rows[static_cast<size_t>(i * wide + in)] = bias[static_cast<size_t>(i)];
  }
  const At<float> memory = images.memory.get(ops.packed_floats(n, wide, a.element));
  images.with_bias.place(n, wide, a.element, memory);
  ops.pack_rows(images.with_bias, 0, n, rows.data(), wide);
}

void ImageRows::clear() {
  for (auto* list : {&positions_, &sequence_, &page_table_, &page_begin_, &own_, &twin_})
    list->clear();
  tokens_.clear();
  writes_.clear();
  parts_.clear();
  code_parts_.clear();
  feature_parts_.clear();
  for (IndexList* list :
       {&text_in_, &text_ids_, &codes_in_, &code_ids_, &embed_from_, &text_at_, &text_out_,
        &features_, &cond_at_, &uncond_at_, &feature_from_, &image_out_, &hidden_from_}) {
    list->host.clear();
  }
}

// Where the embedding of the row at `at` comes from.
void ImageRows::list_row(int32_t at, TokenId token) {
  const bool code = codes_.is_code(token);
  (code ? codes_in_ : text_in_).host.push_back(at);
  (code ? code_ids_ : text_ids_).host.push_back(code ? token - codes_.text_vocab : token);
}

// The rows before codes among [begin, end) of the batch, which are a part. `number`: among all of
// them, -1 for other rows.
void ImageRows::list_features(const std::vector<int32_t>& number, int64_t begin, int64_t end) {
  const auto images = static_cast<int32_t>(image_out_.size());
  for (const bool without : {false, true}) {
    if (without && !codes_.guided()) break;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      if (number[i] < 0) continue;
      (without ? uncond_at_ : cond_at_).host.push_back(static_cast<int32_t>(features_.size()));
      features_.host.push_back((without ? twin_ : own_)[i]);
      feature_from_.host.push_back(number[i] + (without ? images : 0));
    }
  }
}

// Part by part the rows of the batch, then those without a prompt.
void ImageRows::lay_rows(const ForwardBatch& batch) {
  const auto sequences = static_cast<int32_t>(batch.page_begin.size()) - 1;
  own_.resize(batch.tokens.size());
  twin_.resize(batch.tokens.size());
  std::vector<int32_t> number(batch.tokens.size(), -1);  // among the rows before codes
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const bool image = codes_.before_code(batch.tokens[i]);
    if (image) number[i] = static_cast<int32_t>(image_out_.size());
    (image ? image_out_ : text_out_).host.push_back(static_cast<int32_t>(i));
  }
  for_parts(batch, [&](int64_t, int64_t begin, int64_t end) {
    if (!batch.parts.empty()) {
      parts_.push_back(rows());
      code_parts_.push_back(codes_in_.size());
      feature_parts_.push_back(features_.size());
    }
    for (const bool without : {false, true}) {
      if (without && !codes_.guided()) break;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        const auto at = static_cast<int32_t>(tokens_.size());
        const TokenId token = batch.tokens[i];
        (without ? twin_ : own_)[i] = at;
        tokens_.push_back(without ? codes_.without_prompt(token, batch.positions[i]) : token);
        positions_.push_back(batch.positions[i]);
        sequence_.push_back(batch.sequence[i] + (without ? sequences : 0));
        list_row(at, tokens_.back());
      }
    }
    list_features(number, begin, end);
  });
}

// Pages of the batch, then the same `behind` them.
void ImageRows::lay_pages(const ForwardBatch& batch, int32_t behind) {
  const size_t sequences = batch.page_begin.size() - 1;
  for (const bool without : {false, true}) {
    if (without && !codes_.guided()) break;
    const int32_t offset = without ? behind : 0;
    const auto first = static_cast<int32_t>(page_table_.size());
    for (const int32_t page : batch.page_table.first(batch.page_begin[sequences]))
      page_table_.push_back(page + offset);
    for (const int32_t begin : batch.page_begin.first(sequences))
      page_begin_.push_back(first + begin);
    for (KvWrite write : batch.writes) {
      write.row = (without ? twin_ : own_)[write.row];
      write.slot += int64_t{offset} * kPageTokens;
      writes_.push_back(write);
    }
  }
  page_begin_.push_back(static_cast<int32_t>(page_table_.size()));
}

// For every row where it lies in two lists behind each other: texts and codes going in, rows before
// codes and before text coming out.
void ImageRows::list_sources(int64_t batch_rows) {
  const auto invert = [](const IndexList& first, const IndexList& second, int64_t n,
                         IndexList& from) {
    from.host.resize(static_cast<size_t>(n));
    int32_t next = 0;
    for (const IndexList* list : {&first, &second})
      for (const int32_t at : list->host) from.host[at] = next++;
  };
  invert(text_in_, codes_in_, rows(), embed_from_);
  invert(image_out_, text_out_, batch_rows, hidden_from_);
  for (const int32_t row : text_out_.host) text_at_.host.push_back(own_[row]);
}

ForwardBatch ImageRows::put(const Architecture& a, const ForwardBatch& batch, int64_t pages) {
  codes_ = a.codes;
  clear();
  lay_rows(batch);
  list_sources(static_cast<int64_t>(batch.tokens.size()));
  lay_pages(batch, static_cast<int32_t>(pages));
  return {tokens_, positions_, sequence_, page_table_, page_begin_, writes_, parts_, {}};
}

void ImageRows::embed(const Pass& pass, At<float> x) {
  const int64_t width = pass.config.width, text = text_ids_.size();
  const At<float> table = table_.get(rows() * width);
  if (text > 0) {
    pass.ops.embedding(pass.model.embedding, width, text_ids_.put(device_).data(), table, text);
  }
  if (code_ids_.size() > 0) {
    pass.ops.take_rows(pass.model.images.table.data(), width, code_ids_.put(device_),
                       table + text * width, width, width);
  }
  pass.ops.take_rows(table, width, embed_from_.put(device_), x, width, width);
}

At<float> ImageRows::gate(const Pass& pass, At<const float> rows) {
  const int64_t n = features_.size(), wide = codes_.head_width;
  const At<float> gate = gate_.get(n * 2 * wide);
  pass.model.images.projector(pass.ops, rows, pass.config.width, gate, 2 * wide, n);
  pass.ops.take_rows(pass.image_constants, wide, zeros_.zeros(n, device_), gate + wide, 2 * wide,
                     wide);
  return gate;
}

void ImageRows::finish(const Pass& pass, At<const float> normed, At<float> hidden) {
  const Operators& ops = pass.ops;
  const int64_t width = pass.config.width, row = hidden_width(pass.config);
  const int64_t images = image_out_.size(), texts = text_out_.size(), wide = codes_.head_width;
  const At<float> table = table_.get((images + texts) * row);
  if (images > 0) {
    const int64_t n = features_.size();
    const At<float> taken = taken_.get(n * width), acts = acts_.get(n * wide);
    ops.take_rows(normed, width, features_.put(device_), taken, width, width);
    ops.swiglu(gate(pass, taken), 2 * wide, acts, wide, n, wide, kActivation);
    const At<float> mixed = mixed_.get(images * wide);
    ops.take_rows(acts, wide, cond_at_.put(device_), mixed, wide, wide);
    if (codes_.guided()) {
      const At<float> other = other_.get(images * wide);
      ops.take_rows(acts, wide, uncond_at_.put(device_), other, wide, wide);
      ops.scale_rows(mixed, wide, images, wide, codes_.guidance);
      ops.scale_rows(other, wide, images, wide, 1 - codes_.guidance);
      ops.add(mixed, other, mixed, images * wide);
    }
    ops.take_rows(mixed, wide, ascending_.ascending(images, device_), table, row, wide);
    ops.take_rows(pass.image_constants + ones_of(pass.config, codes_), row - wide,
                  zeros_.zeros(images, device_), table + wide, row, row - wide);
  }
  if (texts > 0) {
    const At<float> to = table + images * row;
    ops.take_rows(normed, width, text_at_.put(device_), to, row, width);
    ops.zero_rows(to + width, row, texts, row - width);
  }
  ops.take_rows(table, row, hidden_from_.put(device_), hidden, row, row);
}

void ImageRows::finish_backward(const Pass& pass, At<const float> x_last, At<const float> dhidden,
                                At<float> dnormed) {
  const Operators& ops = pass.ops;
  const PolicyConfig& c = pass.config;
  const int64_t width = c.width, row = hidden_width(c), wide = codes_.head_width;
  const int64_t images = image_out_.size(), texts = text_out_.size();
  ops.zero_rows(dnormed, width, rows(), width);
  if (texts > 0) {
    const At<float> dtext = table_.get(texts * width);
    ops.take_rows(dhidden, row, text_out_.put(device_), dtext, width, width);
    ops.add_to_rows(dtext, width, text_at_.put(device_), dnormed, width, width);
  }
  if (images == 0) return;
  const int64_t n = features_.size();
  // Norms are cheap: these rows are computed again.
  const At<float> x = other_.get(n * width), taken = taken_.get(n * width);
  ops.take_rows(x_last, width, features_.put(device_), x, width, width);
  ops.rms_norm(x, width, pass.model.final_norm.data(), c.norm_eps, taken, width, nullptr, n, width,
               1, 0, c.norm_plus_one);
  const At<const float> gated = gate(pass, taken);

  const At<float> both = mixed_.get(2 * images * wide), dacts = acts_.get(n * wide);
  ops.take_rows(dhidden, row, image_out_.put(device_), both, wide, wide);
  if (codes_.guided()) {
    ops.copy(both, both + images * wide, images * wide);
    ops.scale_rows(both, wide, images, wide, codes_.guidance);
    ops.scale_rows(both + images * wide, wide, images, wide, 1 - codes_.guidance);
  }
  ops.take_rows(both, wide, feature_from_.put(device_), dacts, wide, wide);
  const At<float> dgate = dgate_.get(n * 2 * wide);
  ops.swiglu_backward(dacts, wide, gated, 2 * wide, dgate, 2 * wide, n, wide, nullptr, {},
                      kActivation);
  const Matrix& projector = pass.images->projector;
  ops.linear_backward_weight(dgate, 2 * wide, taken, width, pass.grads + projector.weight, width,
                             pass.grads + projector.bias, n, wide, width, feature_parts_);
  ops.linear_backward_input(dgate, 2 * wide, pass.model.images.projector.weight, x, width, n,
                            false);
  ops.add_to_rows(x, width, features_.put(device_), dnormed, width, width);
}

void ImageRows::embed_backward(const Pass& pass, At<const float> dx, EmbeddingGradient* apart) {
  const Operators& ops = pass.ops;
  const int64_t width = pass.config.width, texts = text_in_.size(), n = codes_in_.size();
  if (texts > 0) {
    const At<float> dtext = table_.get(texts * width);
    ops.take_rows(dx, width, text_in_.put(device_), dtext, width, width);
    if (apart && pass.model.tied) {
      apart->add(dtext, text_ids_.host, width, codes_.text_vocab);
    } else {
      ops.embedding_backward(dtext, text_ids_.put(device_).data(),
                             pass.grads + pass.layout.embedding, texts, width, codes_.text_vocab);
    }
  }
  if (n == 0) return;
  // The table of codes is the aligner's output, row by row.
  const PublishedImages& images = pass.model.images;
  const CodeLayout& places = *pass.images;
  const int64_t narrow = codes_.code_width;
  const View<const int32_t> ids = code_ids_.put(device_);
  const At<float> dout = taken_.get(n * width), gated = gate_.get(n * 2 * width);
  ops.take_rows(dx, width, codes_in_.put(device_), dout, width, width);
  ops.take_rows(images.gated.data(), 2 * width, ids, gated, 2 * width, 2 * width);
  const At<float> dacts = acts_.get(n * width), dgate = dgate_.get(n * 2 * width);
  const At<float> acts = other_.get(n * width);
  ops.linear_backward_input(dout, width, images.aligner_out.weight, dacts, width, n, false);
  ops.swiglu_backward(dacts, width, gated, 2 * width, dgate, 2 * width, n, width, acts, {},
                      kActivation);
  ops.linear_backward_weight(dout, width, acts, width, pass.grads + places.aligner_out.weight,
                             width, pass.grads + places.aligner_out.bias, n, width, width,
                             code_parts_);
  const At<float> embedded = narrow_.get(n * narrow);
  ops.take_rows(images.embed.data(), narrow, ids, embedded, narrow, narrow);
  ops.linear_backward_weight(dgate, 2 * width, embedded, narrow,
                             pass.grads + places.aligner_in.weight, narrow,
                             pass.grads + places.aligner_in.bias, n, width, narrow, code_parts_);
  ops.linear_backward_input(dgate, 2 * width, images.aligner_in.weight, embedded, narrow, n, false);
  ops.embedding_backward(embedded, ids.data(), pass.grads + places.embed, n, narrow, codes_.codes);
}

}  // namespace zeroth
