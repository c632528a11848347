#include "model/formats/gguf_delta.h"

#include <cmath>

#include "core/error.h"
#include "model/formats/gguf_names.h"

namespace zeroth {
namespace {

// What the smallest float32 is the exponential of, and what stands for a decay that became zero.
constexpr float kSmallestALog = -104;

// [key heads, share] blocks of `tile` become [share, key heads].
int64_t tiled(const kernels::DeltaShape& d, int64_t at, int64_t tile) {
  const int64_t head = at / tile, key = head / d.share(), nth = head % d.share();
  return (nth * d.key_heads + key) * tile + at % tile;
}

// Row of [queries | keys | values | gates] of all heads.
int64_t apart(const kernels::DeltaShape& d, int64_t row) {
  const int64_t values = int64_t{d.share()} * d.value_dim;
  const int64_t head = 2 * int64_t{d.key_dim} + 2 * values;
  const int64_t key = row / head, at = row % head;
  if (at < d.key_dim) return key * d.key_dim + at;
  if (at < 2 * d.key_dim) return d.keys() + key * d.key_dim + at - d.key_dim;
  const int64_t value = at - 2 * d.key_dim;
  if (value < values) return 2 * d.keys() + key * values + value;
  return d.channels() + key * values + value - values;
}

}  // namespace

int64_t GgufDelta::place_of_row(int64_t row) const {
  if (by_key) return apart(shape, row);
  if (row_tile == 0 || row < first_tile) return row;
  return first_tile + tiled(shape, row - first_tile, row_tile);
}

int64_t GgufDelta::place_of_column(int64_t column) const {
  return column_tile == 0 ? column : tiled(shape, column, column_tile);
}

GgufDelta gguf_delta(const PolicyConfig& config, const std::string& name) {
  GgufDelta out;
  std::string block, rest;
  const std::string prefix = "linear_attn.";
  if (!split_layer_name(name, block, rest) || !rest.starts_with(prefix)) return out;
  const std::string part = rest.substr(prefix.size());
  out.shape = config.delta;
  // Qwen3-Next's files keep the order of value heads.
  const int64_t value = config.grouped_delta ? 0 : config.delta.value_dim;
  const int64_t head = config.grouped_delta ? 0 : 1;
  const auto rows = [&](const char* tensor, int64_t tile, int64_t first = 0) {
    out.tensor = block + tensor;
    out.row_tile = tile;
    out.first_tile = first;
  };
  if (part == "in_proj_qkvz.weight") {
    rows("attn_qkv.weight", 0);
    out.beside = block + "attn_gate.weight";
    out.together = block + "ssm_in.weight";
    out.split = config.delta.channels();
    out.by_key = true;
  } else if (part == "in_proj_ba.weight") {
    rows("ssm_ba.weight", 0);
  } else if (part == "in_proj_qkv.weight") {
    rows("attn_qkv.weight", value, 2 * config.delta.keys());
  } else if (part == "in_proj_z.weight") {
    rows("attn_gate.weight", value);
  } else if (part == "in_proj_b.weight") {
    rows("ssm_beta.weight", head);
  } else if (part == "in_proj_a.weight") {
    rows("ssm_alpha.weight", head);
  } else if (part == "conv1d.weight") {
    rows("ssm_conv1d.weight", value, 2 * config.delta.keys());
  } else if (part == "A_log") {
    rows("ssm_a", head);
    out.decay = true;
  } else if (part == "dt_bias") {
    rows("ssm_dt.bias", head);
  } else if (part == "norm.weight") {
    rows("ssm_norm.weight", 0);
  } else if (part == "out_proj.weight") {
    rows("ssm_out.weight", 0);
    out.column_tile = value;
  }
  return out;
}

float gguf_decay(float a_log) { return static_cast<float>(-std::exp(static_cast<double>(a_log))); }

float gguf_a_log(float decay, const std::string& source) {
  if (!(decay <= 0)) {
    fail(source + " is " + std::to_string(decay) + ", and decays are negative",
         "the weights are damaged; fetch the file again");
  }
  return decay == 0 ? kSmallestALog : static_cast<float>(std::log(-static_cast<double>(decay)));
}

}  // namespace zeroth
