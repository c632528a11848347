// Gated delta nets, as config.json names them.
#include "model/config_parts.h"

namespace zeroth {
namespace {

void read_types(const ConfigReader& in, PolicyConfig& c) {
  const int period =
      in.integer({"full_attention_interval"}, facts_of(c.family).period, 1, kMaxLayers);
  for (int l = 0; l < c.layers; ++l) c.recurrent[l] = (l + 1) % period != 0;
  const Json* types = in.find({"layer_types"});
  if (types == nullptr) return;
  if (!types->is_array() || types->size() != static_cast<size_t>(c.layers)) {
    in.bad("layer_types", "is " + ConfigReader::shown(*types), "list one type per layer");
  }
  for (int l = 0; l < c.layers; ++l) {
    const Json& type = (*types)[l];
    if (type != "full_attention" && type != "linear_attention") {
      in.bad("layer_types", "contains " + ConfigReader::shown(type),
             "full_attention and linear_attention are read");
    }
    c.recurrent[l] = type == "linear_attention";
  }
}

}  // namespace

void read_delta_nets(const ConfigReader& in, PolicyConfig& c) {
  c.recurrent.assign(c.layers, 0);
  if (!c.delta_net) return;
  read_types(in, c);
  kernels::DeltaShape& d = c.delta;
  d.key_heads = in.integer({"linear_num_key_heads"}, 16, 1, kMaxSize);
  d.value_heads = in.integer({"linear_num_value_heads"}, 32, 1, kMaxSize);
  d.key_dim = in.integer({"linear_key_head_dim"}, 128, 1, kMaxSize);
  d.value_dim = in.integer({"linear_value_head_dim"}, 128, 1, kMaxSize);
  c.delta_taps = in.integer({"linear_conv_kernel_dim"}, 4, 1, 64);
  if (d.value_heads % d.key_heads != 0) {
    in.bad("linear_num_value_heads", "is " + std::to_string(d.value_heads),
           "make it a multiple of the " + std::to_string(d.key_heads) + " linear_num_key_heads");
  }
  if (d.channels() > kMaxSize || d.state() > int64_t{1} << 28) {
    in.bad("linear_key_head_dim", "is " + std::to_string(d.key_dim), "lower the linear sizes");
  }
}

}  // namespace zeroth
