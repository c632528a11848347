#include "model/layout.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "model/image_codes.h"

namespace zeroth {
namespace {

struct Rows {
  std::string name;  // without ".weight"
  int64_t out;
};

// Appends tensors and tells where they will be.
class Builder {
 public:
  explicit Builder(Layout& layout) : infos_(layout.infos) {}

  // What is added from now on belongs to this layer.
  void begin_layer(int layer) { layer_ = layer; }

  int64_t add(const std::string& name, Role role, std::vector<int64_t> shape, bool glued = false) {
    ParameterInfo info;
    info.name = name;
    info.role = role;
    info.layer = layer_;
    info.trainable = role != Role::kSelectionBias;
    info.decay = shape.size() > 1 && role != Role::kBias;
    info.shape = std::move(shape);
    info.glued = glued;
    end_ = place(info, end_);
    infos_.push_back(std::move(info));
    return infos_.back().offset;
  }
  int64_t norm(const std::string& name, int64_t width) {
    return add(name + ".weight", Role::kNorm, {width});
  }

  // One matrix from tensors that all read the same input; with biases, those are one vector too.
  Matrix matrix(const std::string& prefix, Role role, std::initializer_list<Rows> parts, int64_t in,
                bool biased = false) {
    Matrix m;
    m.in = static_cast<int>(in);
    for (const Rows& part : parts) {
      const int64_t at = add(prefix + part.name + ".weight", role, {part.out, in}, m.present());
      if (!m.present()) m.weight = at;
      m.out += static_cast<int>(part.out);
    }
    for (const Rows& part : parts) {
      if (!biased) break;
      const int64_t at = add(prefix + part.name + ".bias", Role::kBias, {part.out}, m.bias >= 0);
      if (m.bias < 0) m.bias = at;
    }
    return m;
  }
  GatedMlp mlp(const std::string& prefix, Role role, int64_t width, int64_t hidden, bool biased,
               const TensorNames& names = {}) {
    GatedMlp m;
    m.gate_up =
        names.gate_up != nullptr
            ? matrix(prefix, role, {{names.gate_up, 2 * width}}, hidden, biased)
            : matrix(prefix, role, {{names.gate, width}, {names.up, width}}, hidden, biased);
    m.down = matrix(prefix, role, {{names.down, hidden}}, width, biased);
    return m;
  }

 private:
  std::vector<ParameterInfo>& infos_;
  int64_t end_ = 0;
  int layer_ = -1;
};

void add_standard_attention(const PolicyConfig& c, const std::string& prefix, Builder& b,
                            LayerLayout& l) {
  const int64_t q = int64_t{c.heads} * c.head_dim, kv = int64_t{c.kv_heads} * c.head_dim;
  const int64_t queries = c.attention_gate ? 2 * q : q;
  const char* const fused = names_of(c.family).tensors.qkv;
  l.qkv =
      fused != nullptr
          ? b.matrix(prefix, Role::kAttention, {{fused, q + 2 * kv}}, c.width, c.qkv_bias)
          : b.matrix(prefix, Role::kAttention,
                     {{"q_proj", queries}, {"k_proj", kv}, {"v_proj", kv}}, c.width, c.qkv_bias);
  l.o = b.matrix(prefix, Role::kAttention, {{"o_proj", c.width}}, q, c.output_bias);
  if (c.sinks) l.sinks = b.add(prefix + "sinks", Role::kBias, {c.heads});
  if (c.qk_norm == QkNorm::kNone) return;
  const bool per_head = c.qk_norm == QkNorm::kPerHead;
  l.q_norm = b.norm(prefix + "q_norm", per_head ? c.head_dim : q);
  l.k_norm = b.norm(prefix + "k_norm", per_head ? c.head_dim : kv);
}

void add_delta_net(const PolicyConfig& c, const std::string& prefix, Builder& b, LayerLayout& l) {
  const kernels::DeltaShape& d = c.delta;
  const int64_t channels = d.channels(), values = d.values(), heads = d.value_heads;
  l.delta_in =
      c.grouped_delta
          ? b.matrix(prefix, Role::kAttention,
                     {{"in_proj_qkvz", channels + values}, {"in_proj_ba", 2 * heads}}, c.width)
          : b.matrix(prefix, Role::kAttention,
                     {{"in_proj_qkv", channels},
                      {"in_proj_b", heads},
                      {"in_proj_a", heads},
                      {"in_proj_z", values}},
                     c.width);
  l.conv = b.add(prefix + "conv1d.weight", Role::kAttention, {channels, 1, c.delta_taps});
  l.a_log = b.add(prefix + "A_log", Role::kLogDecay, {heads});
  l.dt_bias = b.add(prefix + "dt_bias", Role::kTimeBias, {heads});
  l.delta_norm = b.add(prefix + "norm.weight", Role::kGatedNorm, {d.value_dim});
  l.o = b.matrix(prefix, Role::kAttention, {{"out_proj", c.width}}, values);
}

void add_latent_attention(const PolicyConfig& c, const std::string& prefix, Builder& b,
                          LayerLayout& l) {
  const LatentConfig& a = c.latent;
  const int64_t q = int64_t{c.heads} * (a.nope_dim + a.rope_dim);
  if (a.q_rank > 0) {
    l.q_in = b.matrix(prefix, Role::kAttention, {{"q_a_proj", a.q_rank}}, c.width, c.qkv_bias);
    l.q_latent_norm = b.norm(prefix + "q_a_layernorm", a.q_rank);
    l.q_up = b.matrix(prefix, Role::kAttention, {{"q_b_proj", q}}, a.q_rank);
  } else {
    l.q_in = b.matrix(prefix, Role::kAttention, {{"q_proj", q}}, c.width);
  }
  l.kv_in = b.matrix(prefix, Role::kAttention, {{"kv_a_proj_with_mqa", a.kv_rank + a.rope_dim}},
                     c.width, c.qkv_bias);
  l.kv_latent_norm = b.norm(prefix + "kv_a_layernorm", a.kv_rank);
  const int64_t kv = int64_t{c.heads} * (a.nope_dim + a.v_dim);
  l.kv_up = b.matrix(prefix, Role::kAttention, {{"kv_b_proj", kv}}, a.kv_rank);
  l.o = b.matrix(prefix, Role::kAttention, {{"o_proj", c.width}}, int64_t{c.heads} * a.v_dim,
                 c.output_bias);
}

void add_experts(const PolicyConfig& c, const std::string& layer, Builder& b, LayerLayout& l) {
  const TensorNames& names = names_of(c.family).tensors;
  const std::string block = layer + names.experts + ".";
  l.router =
      b.matrix(block, Role::kRouter, {{names.router, c.router.experts}}, c.width, c.expert_bias);
  if (c.selection_bias) {
    l.selection_bias =
        b.add(block + "gate.e_score_correction_bias", Role::kSelectionBias, {c.router.experts});
  }
  for (int e = 0; e < c.router.experts; ++e) {
    const std::string expert = block + "experts." + std::to_string(e) + ".";
    l.experts.push_back(b.mlp(expert, Role::kExpert, c.expert_width, c.width, false, names));
  }
  if (c.expert_bias) {
    l.expert_gate_up_bias = b.add(block + "experts.gate_up_proj_bias", Role::kBias,
                                  {c.router.experts, 2 * int64_t{c.expert_width}});
    l.expert_down_bias =
        b.add(block + "experts.down_proj_bias", Role::kBias, {c.router.experts, c.width});
  }
  if (c.shared_width > 0) {
    // DeepSeek names its shared experts in the plural; mlp_bias reaches them because they are plain
    // MLPs.
    const std::string shared = block + (c.shared_gate ? "shared_expert." : "shared_experts.");
    l.shared = b.mlp(shared, Role::kShared, c.shared_width, c.width, c.mlp_bias);
  }
  if (c.shared_gate)
    l.shared_gate = b.matrix(block, Role::kSharedGate, {{"shared_expert_gate", 1}}, c.width);
}

// In front of the layers: their gradient is complete only when that of the input is.
void add_image_codes(const PolicyConfig& c, const ImageCodes& codes, Builder& b) {
  b.add("gen_embed.weight", Role::kEmbedding, {codes.codes, codes.code_width});
  b.matrix("gen_aligner.", Role::kHead, {{"layers.0", c.width}}, codes.code_width, true);
  b.matrix("gen_aligner.", Role::kHead, {{"layers.2", c.width}}, c.width, true);
  b.matrix("gen_head.", Role::kHead, {{"output_mlp_projector", codes.head_width}}, c.width, true);
  b.matrix("gen_head.", Role::kHead, {{"vision_head", codes.codes}}, codes.head_width, true);
}

}  // namespace

Layout make_layout(const PolicyConfig& c) {
  Layout layout;
  Builder b(layout);
  const TensorNames& names = names_of(c.family).tensors;
  const ImageCodes codes = image_codes(c);
  const int vocab = c.vocab_size - codes.codes;
  layout.embedding = b.add("model.embed_tokens.weight", Role::kEmbedding, {vocab, c.width});
  if (codes.present()) add_image_codes(c, codes, b);
  for (int i = 0; i < c.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    LayerLayout& l = layout.layers.emplace_back();
    b.begin_layer(i);
    const auto norm = [&](bool there, const char* name) {
      return there ? b.norm(prefix + name, c.width) : -1;
    };
    l.input_norm = norm(c.norm_before, names.attention_norm);
    if (c.recurrent[i]) {
      add_delta_net(c, prefix + "linear_attn.", b, l);
    } else if (c.is_latent()) {
      add_latent_attention(c, prefix + "self_attn.", b, l);
    } else {
      add_standard_attention(c, prefix + "self_attn.", b, l);
    }
    l.attention_out_norm = norm(c.norm_behind, names.attention_out_norm);
    l.post_norm = norm(c.norm_before, names.mlp_norm);
    if (c.sparse[i]) {
      add_experts(c, prefix, b, l);
    } else {
      TensorNames dense;  // those of experts are for experts alone
      dense.gate_up = names.gate_up;
      l.mlp = b.mlp(prefix + "mlp.", Role::kMlp, c.mlp_width, c.width, c.mlp_bias, dense);
    }
    l.mlp_out_norm = norm(c.norm_behind, names.mlp_out_norm);
  }
  b.begin_layer(-1);
  layout.final_norm = b.norm("model.norm", c.width);
  if (c.tied_embeddings) {
    layout.head = {layout.embedding, -1, vocab, c.width};
  } else {
    layout.head = b.matrix("", Role::kHead, {{"lm_head", vocab}}, c.width);
  }
  return layout;
}

Matrix latent_keys_of(const PolicyConfig& c, const Matrix& kv_up, int head) {
  const int64_t row = int64_t{head} * (c.latent.nope_dim + c.latent.v_dim);
  return {kv_up.weight + row * c.latent.kv_rank, -1, c.latent.nope_dim, c.latent.kv_rank};
}

Matrix latent_values_of(const PolicyConfig& c, const Matrix& kv_up, int head) {
  const Matrix keys = latent_keys_of(c, kv_up, head);
  return {keys.weight + int64_t{keys.out} * keys.in, -1, c.latent.v_dim, c.latent.kv_rank};
}

FloatRanges expert_floats(const Layout& layout, int first, int last) {
  std::vector<FloatRange> ranges;
  const auto add = [&](int64_t begin, int64_t floats) {
    if (begin >= 0) ranges.push_back({begin, begin + floats});
  };
  for (const LayerLayout& l : layout.layers) {
    for (int e = first; e < std::min(last, static_cast<int>(l.experts.size())); ++e) {
      const auto [gate_up, down] = l.experts[e];
      const int64_t wide = gate_up.out, hidden = gate_up.in;
      add(gate_up.weight, wide * hidden);
      add(down.weight, hidden * down.in);
      if (l.expert_gate_up_bias >= 0) add(l.expert_gate_up_bias + e * wide, wide);
      if (l.expert_down_bias >= 0) add(l.expert_down_bias + e * hidden, hidden);
    }
  }
  return united(std::move(ranges));
}

ParameterCounts count_parameters(const PolicyConfig& config) {
  const Layout layout = make_layout(config);
  ParameterCounts n;
  for (const ParameterInfo& info : layout.infos) n.total += info.count;
  n.embedding = int64_t{text_vocab(config)} * config.width;
  n.active = n.total;
  for (const LayerLayout& l : layout.layers) {
    if (l.experts.empty()) continue;
    const int64_t biases = config.expert_bias ? 2 * config.expert_width + config.width : 0;
    const int64_t expert = int64_t{3} * config.expert_width * config.width + biases;
    n.active -= expert * (config.router.experts - config.router.top_k);
  }
  if (!config.tied_embeddings) n.active -= n.embedding;
  return n;
}

}  // namespace zeroth
