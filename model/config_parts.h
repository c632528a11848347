// The parts of a config.json: PolicyConfig::from_json (model/config.cc) reads the rest and calls these.
//
// All of them fill the fields that they are named after, from what is in `c` already (family and
// sizes), and throw Error(kUsage) that names the key, the value and what would be accepted.
#pragma once

#include "model/config.h"
#include "model/config_reader.h"

namespace zeroth {

// Bounds that keep every product of two sizes far from overflow.
inline constexpr int kMaxSize = 1 << 20;
inline constexpr int kMaxVocab = 1 << 24;
inline constexpr int kMaxLayers = 4096;
inline constexpr int kMaxExperts = 4096;

// model/config_rope.cc: rotary embedding, who is rotated by what, and the context where a scaling
// reaches further than the file says, or less far. Behind attention, whose kind it asks for.
void read_rope(const ConfigReader& in, PolicyConfig& c);

// model/config_attention.cc: head sizes, biases, latents; windows of the layers (behind rotary embedding); dual chunks.
void read_attention(const ConfigReader& in, PolicyConfig& c);
void read_windows(const ConfigReader& in, PolicyConfig& c);
void read_dual_chunks(const ConfigReader& in, PolicyConfig& c);  // behind windows

// model/config_delta.cc: which layers are gated delta nets, and their sizes. In front of windows.
void read_delta_nets(const ConfigReader& in, PolicyConfig& c);

// model/config_experts.cc: which layers are sparse, experts and router.
void read_experts(const ConfigReader& in, PolicyConfig& c);

}  // namespace zeroth
