// Heads, windows and chunks of attention, as config.json names them.
#include <algorithm>
#include <optional>
#include <vector>

#include "model/config_parts.h"

namespace zeroth {
namespace {

void read_plain_heads(const ConfigReader& in, PolicyConfig& c) {
  const FamilyFacts& facts = facts_of(c.family);
  const bool biased = in.boolean("attention_bias", facts.bias);
  switch (facts.biases) {
    case Biases::kByKey:
      c.qkv_bias = c.output_bias = biased;
      break;
    case Biases::kNone:
      break;
    case Biases::kQkv:
      c.qkv_bias = true;
      break;
    case Biases::kQkvByKey:
      c.qkv_bias = in.boolean("qkv_bias", true);
      break;
    case Biases::kQkvByAttention:
      c.qkv_bias = biased;
      break;
  }
  if (facts.qk_norm_by_key && in.boolean("use_qk_norm", false)) c.qk_norm = QkNorm::kPerHead;
  const int default_head = facts.head_dim > 0 ? facts.head_dim : std::max(1, c.width / c.heads);
  c.head_dim = in.integer({"head_dim"}, default_head, 1, kMaxSize);
  if (c.family == Family::kOlmoe) {
    c.clip_qkv = static_cast<float>(in.real({"clip_qkv"}, 0, 0, 1e9));
    // Its norms run over hidden_size, which leaves no other head size.
    c.head_dim = c.width / c.heads;
  }
  if (!in.has("head_dim") && c.width % c.heads != 0 && facts.head_dim == 0) {
    in.bad("hidden_size",
           "is " + std::to_string(c.width) + ", not a multiple of the " + std::to_string(c.heads) +
               " heads",
           "make it a multiple, or give head_dim");
  }
  if (c.head_dim % 2 != 0) in.bad("head_dim", "is odd", "rotary heads need an even size");
}

void read_latent_heads(const ConfigReader& in, PolicyConfig& c) {
  c.latent.q_rank = in.integer({"q_lora_rank"}, 0, 0, kMaxSize);
  c.latent.kv_rank = in.integer({"kv_lora_rank"}, std::nullopt, 1, kMaxSize);
  c.latent.nope_dim = in.integer({"qk_nope_head_dim"}, std::nullopt, 1, kMaxSize);
  c.latent.rope_dim = in.integer({"qk_rope_head_dim"}, std::nullopt, 2, kMaxSize);
  c.latent.v_dim = in.integer({"v_head_dim"}, std::nullopt, 1, kMaxSize);
  if (c.latent.rope_dim % 2 != 0) in.bad("qk_rope_head_dim", "is odd", "give an even number");
  if (c.kv_heads != c.heads) {
    in.bad("num_key_value_heads", "differs from num_attention_heads",
           "latent attention has one key head per query head: make them equal");
  }
  // A key of our own: no other program has both forms.
  const std::string form = in.text({"latent_attention"}, "expanded");
  if (form != "expanded" && form != "absorbed") {
    in.bad("latent_attention", "is " + ConfigReader::shown(form), "expanded or absorbed");
  }
  c.latent.absorbed = form == "absorbed";
  c.head_dim = c.latent.nope_dim + c.latent.rope_dim;
  c.qkv_bias = c.output_bias = in.boolean("attention_bias", false);
}

// One kind of attention per layer; empty: the file does not say.
std::vector<char> read_layer_types(const ConfigReader& in, int layers) {
  const Json* types = in.find({"layer_types"});
  if (types == nullptr) return {};
  if (!types->is_array() || types->size() != static_cast<size_t>(layers)) {
    in.bad("layer_types", "is " + ConfigReader::shown(*types), "list one type per layer");
  }
  std::vector<char> sliding;
  for (const Json& type : *types) {
    if (type != "full_attention" && type != "sliding_attention") {
      in.bad("layer_types", "contains " + ConfigReader::shown(type),
             "full_attention and sliding_attention are read");
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

// The window of the layers that have one; 0: none has.
int read_window(const ConfigReader& in, const FamilyFacts& facts) {
  if (facts.windows == Windows::kNone) return 0;
  if (facts.windows == Windows::kByFlag && !in.boolean("use_sliding_window", false)) return 0;
  // An absent window is the class's default, null is none: the one key where the two differ.
  const int fallback = in.is_null("sliding_window") ? 0 : facts.window;
  return in.integer({"sliding_window"}, fallback, 0, 1 << 30);
}

// The layers that have a window where layer_types does not say.
std::vector<char> default_sliding(const ConfigReader& in, const PolicyConfig& c, int window) {
  const FamilyFacts& facts = facts_of(c.family);
  std::vector<char> sliding(c.layers, 0);
  if (facts.period > 0) {
    const int period = c.family == Family::kGemma3
                           ? in.integer({"sliding_window_pattern"}, facts.period, 1, kMaxLayers)
                           : facts.period;
    for (int l = 0; l < c.layers; ++l) sliding[l] = (l + 1) % period != 0;
    return sliding;
  }
  const int first = in.integer({"max_window_layers"}, 28, 0, kMaxLayers);
  for (int l = 0; l < c.layers && window > 0; ++l) {
    sliding[l] = facts.no_rope_layers            ? !c.rotated[l]
                 : c.family == Family::kQwen2Moe ? l % 2 == 0 && l < first
                                                 : l >= first;
  }
  return sliding;
}

}  // namespace

// DeepSeek-VL2's small models have plain heads.
void read_attention(const ConfigReader& in, PolicyConfig& c) {
  const bool deepseek = c.family == Family::kDeepseekV2 || c.family == Family::kDeepseekV3;
  if (deepseek && in.boolean("use_mla", true)) {
    read_latent_heads(in, c);
  } else {
    read_plain_heads(in, c);
  }
}

void read_windows(const ConfigReader& in, PolicyConfig& c) {
  c.window.assign(c.layers, 0);
  if (c.delta_net) return;  // their layer_types are read_delta_nets'
  const FamilyFacts& facts = facts_of(c.family);
  const int window = read_window(in, facts);
  std::vector<char> types = read_layer_types(in, c.layers);
  // transformers takes a Mistral that has layer_types for a Ministral.
  const bool by_layer = facts.window_by_layer || (c.family == Family::kMistral && !types.empty());
  if (types.empty() && by_layer) types = default_sliding(in, c, window);
  const bool any = std::find(types.begin(), types.end(), 1) != types.end();
  if (any && window == 0) {
    in.bad("layer_types", "names sliding_attention, and no window is in use",
           "give sliding_window (with use_sliding_window where the family has it), or write "
           "full_attention");
  }
  if (!by_layer) {
    c.window.assign(c.layers, window);
    if (window > 0 && std::find(types.begin(), types.end(), 0) != types.end()) {
      c.notes.push_back("layer_types names full_attention beside sliding_window " +
                        std::to_string(window) +
                        ": all layers have the window, as in transformers");
    }
    return;
  }
  for (int l = 0; l < c.layers; ++l) c.window[l] = types[l] ? window : 0;
}

// Qwen2.5-1M: {"chunk_size", "local_size", "original_max_position_embeddings"}.
void read_dual_chunks(const ConfigReader& top, PolicyConfig& c) {
  if (!top.has("dual_chunk_attention_config")) return;
  const ConfigReader in = top.object("dual_chunk_attention_config");
  c.chunk_size = in.integer({"chunk_size"}, 8192, 1, 1 << 30);
  const int local = in.integer({"local_size"}, 1024, 0, c.chunk_size - 1);
  c.chunk_len = c.chunk_size - local;
  if (c.chunk_len % kernels::kPageTokens != 0) {
    in.bad("chunk_size",
           "is " + std::to_string(c.chunk_size) + " with local_size " + std::to_string(local),
           "their difference must be a multiple of " + std::to_string(kernels::kPageTokens));
  }
  const bool windowed = std::any_of(c.window.begin(), c.window.end(), [](int w) { return w > 0; });
  const bool unrotated = std::find(c.rotated.begin(), c.rotated.end(), 0) != c.rotated.end();
  const bool part = !c.is_latent() && c.rope_dim() != c.head_dim;
  const char* const other = windowed                    ? "sliding windows"
                            : unrotated || part         ? "unrotated queries"
                            : c.rope.cos_sin_scale != 1 ? "a scale of rotations"
                            : c.sinks                   ? "attention sinks"
                            : c.attention_gate          ? "gated attention"
                                                        : nullptr;
  if (other != nullptr) {
    top.bad("dual_chunk_attention_config", std::string("stands beside ") + other,
            "remove one of them");
  }
}

}  // namespace zeroth
