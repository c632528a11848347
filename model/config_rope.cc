// Rotary embedding and its scalings, as config.json names them.
#include <algorithm>
#include <cmath>
#include <optional>

#include "model/config_parts.h"

namespace zeroth {
namespace {

// 0.1 mscale ln(scale) + 1 (YaRN, equation 22, with DeepSeek's mscale).
double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

void read_yarn(const ConfigReader& in, int max_position, RopeConfig& rope) {
  rope.original_max_position = in.real({"original_max_position_embeddings"}, max_position, 1, 1e9);
  rope.factor = in.real({"factor"}, max_position / rope.original_max_position, 1e-3, 1e6);
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

std::string read_rope_type(const ConfigReader& in) {
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
  return in.text({"rope_type", "type"}, "default");
}

double read_rope_theta(const ConfigReader& top, const ConfigReader& in, double fallback) {
  const double outer = top.real({"rope_theta"}, fallback, 1, 1e12);
  const double theta = in.real({"rope_theta"}, outer, 1, 1e12);
  if (top.has("rope_theta") && theta != outer) {
    in.bad("rope_theta", "is " + Json(theta).dump() + " and " + Json(outer).dump() + " outside",
           "make them equal, or keep one");
  }
  return theta;
}

void read_llama3(const ConfigReader& in, int max_position, RopeConfig& rope) {
  rope.factor = in.real({"factor"}, std::nullopt, 1, 1e6);
  rope.low_freq_factor = in.real({"low_freq_factor"}, std::nullopt, 1e-6, 1e6);
  rope.high_freq_factor = in.real({"high_freq_factor"}, std::nullopt, 1e-6, 1e6);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    in.bad("high_freq_factor", "is not above low_freq_factor", "llama3 scaling needs it larger");
  }
  rope.original_max_position = in.real({"original_max_position_embeddings"}, max_position, 1, 1e9);
}

RopeConfig read_scaling(const ConfigReader& top, PolicyConfig& c) {
  RopeConfig rope;
  const ConfigReader in = rope_object(top);
  const std::string type = read_rope_type(in);
  rope.theta = read_rope_theta(top, in, facts_of(c.family).theta);
  const double rotary =
      in.real({"partial_rotary_factor"}, top.real({"partial_rotary_factor"}, 1, 0, 1), 0, 1);
  if (rotary != 1) {
    in.bad("partial_rotary_factor", "is " + Json(rotary).dump(),
           "only whole heads are rotated in the supported families: use 1");
  }
  if (type == "default") {
    rope.type = RopeType::kDefault;
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = in.real({"factor"}, std::nullopt, 1e-3, 1e6);
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    read_llama3(in, c.max_position, rope);
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    read_yarn(in, c.max_position, rope);
    if (in.has("attn_factor")) {
      c.notes.push_back(
          "attn_factor of the YaRN scaling is not read, as in transformers (which "
          "reads attention_factor); vLLM multiplies by it");
    }
  } else if (type == "dynamic" || type == "longrope") {
    in.bad("rope_type", "is '" + type + "'",
           "this scaling changes the rotation of earlier tokens as a sequence grows, so a log-prob "
           "would depend on what follows; use default, linear, llama3 or yarn");
  } else {
    in.bad("rope_type", "is " + ConfigReader::shown(type), "use default, linear, llama3 or yarn");
  }
  // DeepSeek raises the softmax temperature with the stretch, whatever the type of scaling.
  const double all_dim = in.real({"mscale_all_dim"}, 0, 0, 100);
  if (c.is_latent() && type != "default" && all_dim > 0) {
    const double mscale = yarn_mscale(rope.factor, all_dim);
    rope.softmax_scale = mscale * mscale;
  }
  return rope;
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

}  // namespace

void read_rope(const ConfigReader& in, PolicyConfig& c) {
  c.rope = read_scaling(in, c);
  widen_context(c);
  c.rope.interleaved =
      c.is_latent() && (c.family == Family::kDeepseekV2 || in.boolean("rope_interleave", true));
}

}  // namespace zeroth
