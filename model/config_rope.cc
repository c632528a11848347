// Rotary embedding, its scalings and who is rotated, as config.json names them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "model/config_parts.h"

namespace zeroth {
namespace {

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";

// 0.1 mscale ln(scale) + 1 (YaRN, equation 22, with DeepSeek's mscale).
double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

// The length of pre-training. transformers 5 takes one outside of the object first, where Phi3Config
// has it (4096 when absent) and version 4 does not look for other families.
double read_original_length(const ConfigReader& top, const ConfigReader& in,
                            const PolicyConfig& c) {
  const char* const key = "original_max_position_embeddings";
  const bool phi3 = c.family == Family::kPhi3, by_layer = facts_of(c.family).local_theta > 0;
  const bool outside = phi3 || (!by_layer && top.has(key));
  const double absent = phi3 ? 4096 : c.max_position;
  const double outer = outside ? top.real({key}, absent, 2, 1e9) : in.real({key}, absent, 2, 1e9);
  const double inner = in.real({key}, outer, 2, 1e9);
  if (inner != outer) {
    in.bad(key, "is " + Json(inner).dump() + " and " + Json(outer).dump() + " outside",
           "make them equal");
  }
  return outer;
}

void read_yarn(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c,
               RopeConfig& rope) {
  rope.original_max_position = read_original_length(top, in, c);
  rope.factor = in.real({"factor"}, c.max_position / rope.original_max_position, 1e-3, 1e6);
  rope.beta_fast = in.real({"beta_fast"}, 32, 1e-6, 1e6);
  rope.beta_slow = in.real({"beta_slow"}, 1, 1e-6, 1e6);
  rope.truncate = in.boolean("truncate", true);
  const double mscale = in.real({"mscale"}, 0, 0, 100);
  const double mscale_all_dim = in.real({"mscale_all_dim"}, 0, 0, 100);
  const double derived =
      mscale > 0 && mscale_all_dim > 0
          ? yarn_mscale(rope.factor, mscale) / yarn_mscale(rope.factor, mscale_all_dim)
          : yarn_mscale(rope.factor, 1);
  rope.cos_sin_scale = in.real({"attention_factor"}, derived, 1e-3, 1e3);
}

void read_llama3(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c,
                 RopeConfig& rope) {
  rope.factor = in.real({"factor"}, std::nullopt, 1, 1e6);
  rope.low_freq_factor = in.real({"low_freq_factor"}, std::nullopt, 1e-6, 1e6);
  rope.high_freq_factor = in.real({"high_freq_factor"}, std::nullopt, 1e-6, 1e6);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    in.bad("high_freq_factor", "is not above low_freq_factor", "llama3 scaling needs it larger");
  }
  rope.original_max_position = read_original_length(top, in, c);
}

// One divisor a pair of rotated values.
std::vector<double> read_divisors(const ConfigReader& in, const char* key, int pairs) {
  const Json* list = in.find({key});
  const std::string fix = "list " + std::to_string(pairs) + " numbers above 0";
  if (list == nullptr) in.bad(key, "is missing", fix);
  if (!list->is_array() || list->size() != static_cast<size_t>(pairs)) {
    in.bad(key, "is " + ConfigReader::shown(*list), fix);
  }
  std::vector<double> out;
  for (const Json& value : *list) {
    const double x = value.is_number() ? value.get<double>() : 0;
    if (!(x >= 1e-6 && x <= 1e6)) in.bad(key, "holds " + ConfigReader::shown(value), fix);
    out.push_back(static_cast<float>(x));  // as transformers has them
  }
  return out;
}

// Beyond the length of pre-training transformers rotates a whole sequence by other frequencies, its
// earlier tokens too, so a log-prob would depend on what follows. Here the context ends there,
// unless both lists are one.
void read_longrope(const ConfigReader& top, const ConfigReader& in, PolicyConfig& c,
                   RopeConfig& rope) {
  rope.original_max_position = read_original_length(top, in, c);
  rope.short_factors = read_divisors(in, "short_factor", c.rope_dim() / 2);
  rope.long_factors = read_divisors(in, "long_factor", c.rope_dim() / 2);
  const double factor = in.real({"factor"}, c.max_position / rope.original_max_position, 1e-3, 1e6);
  const double derived =
      factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(rope.original_max_position));
  // As a float, which is what transformers multiplies by and a GGUF file holds.
  rope.cos_sin_scale = static_cast<float>(in.real({"attention_factor"}, derived, 1e-3, 1e3));
  if (rope.short_factors == rope.long_factors || rope.original_max_position >= c.max_position) {
    return;
  }
  c.max_position = static_cast<int>(rope.original_max_position);
  c.notes.push_back(
      "longrope rotates all tokens of a sequence otherwise once it is longer than " +
      std::to_string(c.max_position) +
      ": the context ends there, so that no log-prob depends on what follows; to train beyond it, "
      "write long_factor as short_factor too, which is then used at every length");
}

// Up to max_position_embeddings transformers rotates as without it; beyond that it stretches the
// frequencies of a whole sequence with its length, earlier tokens too. The context ends before.
void read_dynamic(const ConfigReader& in, PolicyConfig& c, RopeConfig& rope) {
  rope.type = RopeType::kDefault;
  rope.factor = in.real({"factor"}, std::nullopt, 1e-3, 1e6);
  if (in.has("alpha")) {
    in.bad("alpha", "stands beside a rope_type 'dynamic'",
           "only factor is read, as in transformers: remove it, or raise rope_theta instead");
  }
  c.notes.push_back(
      "dynamic rotary scaling rotates all tokens of a sequence otherwise once it is longer than "
      "max_position_embeddings, " +
      std::to_string(c.max_position) +
      ": the context ends there, where nothing is scaled, so that no log-prob depends on what "
      "follows");
}

// `rope_parameters` (new) or `rope_scaling` (old), refused where both say something and not the
// same: which one a program takes depends on its version.
ConfigReader rope_object(const ConfigReader& top) {
  ConfigReader parameters = top.object("rope_parameters");
  ConfigReader scaling = top.object("rope_scaling");
  if (!top.has("rope_parameters")) return scaling;
  for (const auto& [key, value] : scaling.items()) {
    const Json* other = parameters.find({key.c_str()});
    if (value.is_null() || (other != nullptr && *other == value)) continue;
    const bool type_of_other = (key == "type" || key == "rope_type") &&
                               value == parameters.text({"rope_type", "type"}, "default");
    if (type_of_other) continue;
    top.bad("rope_scaling",
            "is " + scaling.shown_all() + " beside rope_parameters " + parameters.shown_all(),
            "keep one of them: write what is meant into rope_parameters, rope_theta with it");
  }
  return parameters;
}

std::string read_rope_type(const ConfigReader& in, Family family) {
  for (const auto& [key, value] : in.items()) {
    if (value.is_object()) {
      in.bad(key, "is " + ConfigReader::shown(value),
             "one set of rope parameters for all layers is read, not one for each kind of layer");
    }
  }
  if (in.is_null("type") && !in.has("rope_type") && in.has("factor")) {
    in.bad("type", "is null beside a factor",
           "name the scaling: linear, llama3 or yarn; or remove the object");
  }
  std::string type = in.text({"rope_type", "type"}, "default");
  if (family != Family::kPhi3) return type;
  if (type == "su" || type == "yarn") type = "longrope";  // its older names there
  if (type != "default" && type != "longrope") {
    in.bad("rope_type", "is " + ConfigReader::shown(type), "Phi-3 has default and longrope");
  }
  return type;
}

// `outer_key` stands beside the object; null: no key does.
double read_rope_theta(const ConfigReader& top, const ConfigReader& in, const char* outer_key,
                       double fallback) {
  const bool outside = outer_key != nullptr && top.has(outer_key);
  const double outer = outside ? top.real({outer_key}, fallback, 1, 1e12) : fallback;
  const double theta = in.real({"rope_theta"}, outer, 1, 1e12);
  if (outside && theta != outer) {
    in.bad("rope_theta", "is " + Json(theta).dump() + " and " + Json(outer).dump() + " outside",
           "make them equal, or keep one");
  }
  return theta;
}

// How much of a head is rotated: what the file says, inside or outside.
double read_rotary_part(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c) {
  const double outer = top.real({"partial_rotary_factor"}, facts_of(c.family).rotary, 0, 1);
  return in.real({"partial_rotary_factor"}, outer, 0, 1);
}

int read_rotary_dim(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c) {
  // Heads are whole there, and some of their pairs stand still.
  if (in.text({"rope_type", "type"}, "default") == "proportional") return c.head_dim;
  const FamilyFacts& facts = facts_of(c.family);
  const double part = read_rotary_part(top, in, c);
  if (part != 1 && !facts.partial_rotary) {
    in.bad("partial_rotary_factor", "is " + Json(part).dump(),
           std::string("only whole heads are rotated in ") + facts.names.model_type + ": use 1");
  }
  const int dim = static_cast<int>(c.head_dim * part);
  if (dim < 1) {
    in.bad("partial_rotary_factor",
           "is " + Json(part).dump() + ", none of the " + std::to_string(c.head_dim) +
               " values of a head",
           "one of them is rotated at least");
  }
  return dim + dim % 2;
}

// Frequencies that no other type has, as divisors of the default ones.
template <class F>
void divide_frequencies(const PolicyConfig& c, RopeConfig& rope, const F& divisor) {
  rope.type = RopeType::kLongrope;
  rope.original_max_position = c.max_position;
  for (int i = 0; i < c.rope_dim() / 2; ++i) rope.short_factors.push_back(divisor(i));
  rope.long_factors = rope.short_factors;
}

// Whole heads, of which the first so many pairs turn and the others stand still.
void read_proportional(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c,
                       RopeConfig& rope) {
  const double factor = in.real({"factor"}, 1, 1e-3, 1e6);
  const int turning = static_cast<int>(read_rotary_part(top, in, c) * c.rope_dim() / 2);
  divide_frequencies(c, rope, [&](int i) {
    return i < turning ? factor : std::numeric_limits<double>::infinity();
  });
}

// An odd part of a head is rounded up to pairs, whose frequencies have the odd number in their
// exponents, as in transformers.
void read_odd_part(const ConfigReader& top, const ConfigReader& in, const PolicyConfig& c,
                   RopeConfig& rope) {
  const double part = read_rotary_part(top, in, c);
  const int dim = static_cast<int>(c.head_dim * part);
  if (dim == c.rotary_dim) return;
  if (rope.type != RopeType::kDefault) {
    in.bad("partial_rotary_factor",
           "is " + Json(part).dump() + ", " + std::to_string(dim) + " of the " +
               std::to_string(c.head_dim) + " values of a head",
           "with this scaling an even number of them is rotated");
  }
  divide_frequencies(
      c, rope, [&](int i) { return std::pow(rope.theta, 2.0 * i / dim - 2.0 * i / c.rotary_dim); });
}

// Frequencies of one kind of layer, from its object of parameters.
RopeConfig read_frequencies(const ConfigReader& top, const ConfigReader& in, PolicyConfig& c,
                            const char* theta_key, double default_theta) {
  RopeConfig rope;
  const std::string type = read_rope_type(in, c.family);
  rope.theta = read_rope_theta(top, in, theta_key, default_theta);
  if (type == "default") {
    rope.type = RopeType::kDefault;
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = in.real({"factor"}, std::nullopt, 1e-3, 1e6);
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    read_llama3(top, in, c, rope);
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    read_yarn(top, in, c, rope);
    if (in.has("attn_factor")) {
      c.notes.push_back(
          "attn_factor of the YaRN scaling is not read, as in transformers (which "
          "reads attention_factor); vLLM multiplies by it");
    }
  } else if (type == "longrope") {
    rope.type = RopeType::kLongrope;
    read_longrope(top, in, c, rope);
  } else if (type == "dynamic") {
    read_dynamic(in, c, rope);
  } else if (type == "proportional") {
    read_proportional(top, in, c, rope);
  } else {
    in.bad("rope_type", "is " + ConfigReader::shown(type),
           "use default, linear, dynamic, llama3, yarn, longrope or proportional");
  }
  if (!c.is_latent() && type != "proportional") read_odd_part(top, in, c, rope);
  // DeepSeek raises the softmax temperature with the stretch, whatever the type of scaling.
  const double all_dim = in.real({"mscale_all_dim"}, 0, 0, 100);
  if (c.is_latent() && type != "default" && all_dim > 0) {
    const double mscale = yarn_mscale(rope.factor, all_dim);
    rope.softmax_scale = mscale * mscale;
  }
  return rope;
}

bool same_rotation(const RopeConfig& a, const RopeConfig& b) {
  return a.type == RopeType::kDefault && b.type == RopeType::kDefault && a.theta == b.theta;
}

// Families whose layers with a window have frequencies of their own: rope_parameters holds a set for
// each kind; the older rope_scaling and rope_theta are those of the layers that see all.
void read_by_layer(const ConfigReader& top, PolicyConfig& c) {
  const FamilyFacts& facts = facts_of(c.family);
  const char* const local_key = c.family == Family::kGemma3 ? "rope_local_base_freq" : nullptr;
  const ConfigReader all = top.object("rope_parameters");
  const bool nested = all.has(kFull) || all.has(kSliding);
  for (const auto& [key, value] : all.items()) {
    if (key == kFull || key == kSliding || value.is_null()) continue;
    top.bad("rope_parameters", "is " + all.shown_all() + " with '" + key + "' of no kind of layer",
            std::string("write one set for ") + kFull + " and one for " + kSliding);
  }
  if (nested && top.has("rope_scaling")) {
    top.bad("rope_scaling", "stands beside rope_parameters " + all.shown_all(), "keep one of them");
  }
  const ConfigReader full = nested ? all.object(kFull) : top.object("rope_scaling");
  if (!nested && full.has("type") && !full.has("rope_type") &&
      full.text({"type"}, "") != "default") {
    full.bad("type", "is " + ConfigReader::shown(*full.find({"type"})),
             "transformers 5 does not look at it in this family, and transformers 4 does: write "
             "rope_type in its place");
  }
  if (nested && !full.boolean("truncate", true)) {
    full.bad("truncate", "is false", "transformers does not look for it here: remove it");
  }
  c.rope = read_frequencies(top, full, c, "rope_theta", facts.theta);
  const RopeConfig local =
      read_frequencies(top, all.object(kSliding), c, local_key, facts.local_theta);
  if (!same_rotation(local, c.rope)) c.local_rope = local;
}

// YaRN reaches further than max_position_embeddings where that stays at the length of pre-training,
// as the model cards of Qwen have it.
void widen_context(PolicyConfig& c) {
  if (c.rope.type != RopeType::kYarn) return;
  const double reach = c.rope.factor * c.rope.original_max_position;
  const int limit = static_cast<int>(std::min(reach, double{1 << 30}));
  if (limit <= c.max_position) return;
  c.notes.push_back("max_position_embeddings is " + std::to_string(c.max_position) +
                    "; the rope scaling reaches " + std::to_string(limit) +
                    " positions, which is taken as the context");
  c.max_position = limit;
}

// SmolLM3: a 1 for each layer that rotates queries and keys, or the distance of those that do not.
void read_rotated_layers(const ConfigReader& in, PolicyConfig& c) {
  c.rotated.assign(c.layers, 1);
  if (!facts_of(c.family).no_rope_layers) return;
  const Json* list = in.find({"no_rope_layers"});
  const int step = in.integer({"no_rope_layer_interval"}, 4, 1, 1 << 30);
  for (int l = 0; l < c.layers && list == nullptr; ++l) c.rotated[l] = (l + 1) % step != 0;
  if (list == nullptr) return;
  if (!list->is_array() || list->size() < static_cast<size_t>(c.layers)) {
    in.bad("no_rope_layers", "is " + ConfigReader::shown(*list),
           "list a 1 for each layer with rotary positions, a 0 for each without");
  }
  for (int l = 0; l < c.layers; ++l) {
    const Json& value = (*list)[l];
    if (value != 0 && value != 1 && !value.is_boolean()) {
      in.bad("no_rope_layers", "holds " + ConfigReader::shown(value), "write 0 or 1");
    }
    c.rotated[l] = value == 1 || value == true;
  }
}

}  // namespace

void read_rope(const ConfigReader& in, PolicyConfig& c) {
  // GptOssConfig's, where the file says nothing.
  static const Json gpt_oss = {{"rope_type", "yarn"},
                               {"factor", 32},
                               {"truncate", false},
                               {"original_max_position_embeddings", 4096}};
  const bool said = in.has("rope_parameters") || in.has("rope_scaling");
  const ConfigReader object = c.family == Family::kGptOss && !said
                                  ? ConfigReader(gpt_oss, "rope_parameters of GptOssConfig")
                                  : rope_object(in);
  c.rotary_dim = c.is_latent() ? c.head_dim : read_rotary_dim(in, object, c);
  if (facts_of(c.family).local_theta > 0) {
    read_by_layer(in, c);
  } else {
    c.rope = read_frequencies(in, object, c, "rope_theta", facts_of(c.family).theta);
  }
  widen_context(c);
  c.rope.interleaved = c.is_latent()
                           ? c.family == Family::kDeepseekV2 || in.boolean("rope_interleave", true)
                           : facts_of(c.family).interleaved_rope;
  read_rotated_layers(in, c);
}

}  // namespace zeroth
