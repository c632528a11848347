// Names and layouts of llama.cpp's tensors (gguf-py, tensor_mapping.py; convert_hf_to_gguf.py).
#include <cmath>
#include <set>

#include "core/error.h"
#include "policy/gguf_model.h"

namespace zeroth {
namespace {

// Where the values of one parameter stand.
struct Place {
  const GgufTensor* tensor = nullptr;
  int64_t first = 0;        // value index in the tensor
  bool rope_pairs = false;  // rows of a head in interleaved order
};

struct Rename {
  const char* hugging_face;
  const char* gguf;
};
// Inside a layer; parts without .weight and .bias.
constexpr Rename kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};
constexpr Rename kExpertNames[] = {
    {"gate_proj", "ffn_gate"}, {"w1", "ffn_gate"},        {"up_proj", "ffn_up"},
    {"w3", "ffn_up"},          {"down_proj", "ffn_down"}, {"w2", "ffn_down"},
};

bool take_prefix(std::string& text, const std::string& prefix) {
  if (!text.starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

class WeightReader {
 public:
  WeightReader(const GgufFile& file, const PolicyConfig& config)
      : file_(file), gguf_(file.contents()), config_(config) {
    // llama.cpp turns (i, i + dim/2) into neighbours for this architecture only.
    interleaved_ = gguf_.text("general.architecture") == "llama";
  }

  void read(Parameters& parameters) {
    for (const ParameterInfo& info : parameters.infos()) read_one(info, parameters.view(info));
    for (const auto& [name, tensor] : gguf_.tensors) {
      if (used_.contains(name) || name == "rope_freqs.weight" || of_extra_layer(name)) continue;
      fail(gguf_.source + " has the unexpected tensor \"" + name + "\"",
           "its architecture \"" + gguf_.text("general.architecture") +
               "\" has no place for it here");
    }
  }

 private:
  // Multi-token prediction layers stand behind the others.
  bool of_extra_layer(std::string name) const {
    if (!take_prefix(name, "blk.")) return false;
    return std::atoi(name.c_str()) >= config_.layers;
  }

  const GgufTensor* find(const std::string& name) {
    const auto it = gguf_.tensors.find(name);
    if (it == gguf_.tensors.end()) return nullptr;
    used_.insert(name);
    return &it->second;
  }

  Place locate(const ParameterInfo& info) {
    std::string rest = info.name;
    if (rest == "model.embed_tokens.weight") return whole(info, "token_embd.weight");
    if (rest == "model.norm.weight") return whole(info, "output_norm.weight");
    if (rest == "lm_head.weight") return whole(info, "output.weight");
    if (!take_prefix(rest, "model.layers.")) return {};
    const size_t dot = rest.find('.');
    const std::string block = "blk." + rest.substr(0, dot) + ".";
    rest.erase(0, dot + 1);
    if (rest.ends_with("gate.e_score_correction_bias")) {
      return whole(info, block + "exp_probs_b.bias");
    }
    const size_t last = rest.rfind('.');
    const std::string kind = rest.substr(last);  // .weight or .bias
    const std::string part = rest.substr(0, last);
    const size_t experts = part.find(".experts.");
    if (experts != std::string::npos) {
      return expert(info, block, part.substr(experts + 9), kind);
    }
    for (const Rename& row : kLayerNames) {
      if (part != row.hugging_face) continue;
      Place place = whole(info, block + row.gguf + kind);
      const bool query_or_key = part == "self_attn.q_proj" || part == "self_attn.k_proj";
      place.rope_pairs = interleaved_ && query_or_key;
      return place;
    }
    return {};
  }

  // `name` is "7.up_proj": a slice of the tensor of all experts, or (old files) a tensor of its
  // own.
  Place expert(const ParameterInfo& info, const std::string& block, const std::string& name,
               const std::string& kind) {
    const size_t dot = name.find('.');
    const int64_t index = std::atoll(name.c_str());
    for (const Rename& row : kExpertNames) {
      if (name.substr(dot + 1) != row.hugging_face) continue;
      const GgufTensor* all = find(block + row.gguf + "_exps" + kind);
      if (all == nullptr) {
        return whole(info, block + row.gguf + "." + std::to_string(index) + kind);
      }
      std::vector<int64_t> shape = info.shape;
      shape.insert(shape.begin(), config_.router.experts);
      check_shape(*all, shape);
      return {all, index * info.count, false};
    }
    return {};
  }

  Place whole(const ParameterInfo& info, const std::string& name) {
    const GgufTensor* tensor = find(name);
    if (tensor == nullptr) return {};
    // A gate of one row is stored as a vector.
    std::vector<int64_t> shape = info.shape;
    if (shape.size() == 2 && shape[0] == 1 && tensor->shape.size() == 1) shape.erase(shape.begin());
    check_shape(*tensor, shape);
    return {tensor, 0, false};
  }

  void check_shape(const GgufTensor& tensor, const std::vector<int64_t>& wanted) const {
    if (tensor.shape == wanted) return;
    const auto text = [](const std::vector<int64_t>& shape) {
      std::string out = "[";
      for (size_t i = 0; i < shape.size(); ++i) {
        out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
      }
      return out + "]";
    };
    fail(gguf_.source + ": tensor \"" + tensor.name + "\" is " + text(tensor.shape) +
             ", the config needs " + text(wanted),
         "the file's metadata does not belong to its weights");
  }

  void read_one(const ParameterInfo& info, std::span<float> out) {
    if (join_latent_heads(info, out)) return check_finite(info, out);
    const Place place = locate(info);
    if (place.tensor == nullptr) {
      fail(gguf_.source + " lacks the tensor for \"" + info.name + "\"",
           "the file is cut or its architecture has another form");
    }
    file_.read(*place.tensor, place.first, info.count, out.data());
    if (place.rope_pairs) separate_pairs(info, out);
    check_finite(info, out);
  }

  // Row (head, 2 i + half) of the file is row (head, half * dim/2 + i) here.
  void separate_pairs(const ParameterInfo& info, std::span<float> out) const {
    const int64_t dim = config_.head_dim;
    const int64_t rows = info.shape[0];
    const int64_t columns = info.count / rows;
    const std::vector<float> in(out.begin(), out.end());
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t head = row / dim, place = row % dim;
      const int64_t to = head * dim + place % 2 * (dim / 2) + place / 2;
      std::copy_n(in.begin() + row * columns, columns, out.begin() + to * columns);
    }
  }

  // Newer files store kv_b_proj in two: attn_k_b [heads, rank, nope] (transposed) and attn_v_b
  // [heads, v, rank]; kv_b_proj is [heads * (nope + v), rank].
  bool join_latent_heads(const ParameterInfo& info, std::span<float> out) {
    if (!info.name.ends_with("self_attn.kv_b_proj.weight")) return false;
    std::string rest = info.name;
    take_prefix(rest, "model.layers.");
    const std::string block = "blk." + rest.substr(0, rest.find('.')) + ".";
    const GgufTensor* keys = find(block + "attn_k_b.weight");
    const GgufTensor* values = find(block + "attn_v_b.weight");
    if (keys == nullptr || values == nullptr) return false;
    const int64_t heads = config_.heads, rank = config_.latent.kv_rank,
                  nope = config_.latent.nope_dim, v = config_.latent.v_dim;
    check_shape(*keys, {heads, rank, nope});
    check_shape(*values, {heads, v, rank});
    std::vector<float> k(static_cast<size_t>(keys->count)), w(static_cast<size_t>(values->count));
    file_.read(*keys, 0, keys->count, k.data());
    file_.read(*values, 0, values->count, w.data());
    for (int64_t h = 0; h < heads; ++h) {
      float* head = out.data() + h * (nope + v) * rank;
      for (int64_t i = 0; i < nope; ++i) {
        for (int64_t r = 0; r < rank; ++r) head[i * rank + r] = k[(h * rank + r) * nope + i];
      }
      std::copy_n(w.data() + h * v * rank, v * rank, head + nope * rank);
    }
    return true;
  }

  void check_finite(const ParameterInfo& info, std::span<const float> values) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      fail(
          gguf_.source + ": value " + std::to_string(i) + " of \"" + info.name + "\" is not finite",
          "the weights are damaged; fetch the file again");
    }
  }

  const GgufFile& file_;
  const GgufContents& gguf_;
  const PolicyConfig& config_;
  bool interleaved_ = false;
  std::set<std::string> used_;
};

}  // namespace

void read_gguf_weights(const GgufFile& file, const PolicyConfig& config, Parameters& parameters) {
  WeightReader(file, config).read(parameters);
}

}  // namespace zeroth
