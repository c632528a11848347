// What llama.cpp calls things: architectures, tensors of a layer (gguf-py, constants.py and
// tensor_mapping.py; conversion/*.py and src/models/*.cpp of llama.cpp). One table for reading and
// for writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/formats/gguf.h"

namespace zeroth {

// A family's row: its name there, and what llama.cpp's loader takes for granted of it.
struct GgufArchitecture {
  Family family;
  const char* gguf;           // general.architecture; families may share one
  bool experts = false;       // no model without experts
  bool square = false;        // all heads together are as wide as the model
  bool kv_head_each = false;  // as many key/value heads as heads
  bool own_head = false;      // output.weight is there, tied or not
  bool interleaved = false;   // query and key rows of a head: (i, i + dim/2) become neighbours
  int period = 0;             // with a window: every so many-th layer has none
  // TensorNames of the same names.
  const char *attention_norm = "attn_norm", *mlp_norm = "ffn_norm";
  const char *attention_out_norm = "post_attention_norm", *mlp_out_norm = "post_ffw_norm";
};
// What a file's metadata name. Throws Error naming the source for what is not known.
const GgufArchitecture& gguf_architecture(const GgufContents& contents);
// Throws Error for a family that llama.cpp has not.
const GgufArchitecture& gguf_architecture_of(Family family);

// "model.layers.7.rest" -> "blk.7." and "rest"; false: no parameter of a layer.
bool split_layer_name(const std::string& name, std::string& block, std::string& rest);

// Where a parameter stands in the file.
struct GgufName {
  std::string tensor;         // empty: llama.cpp has no place for it
  int64_t expert = -1;        // >= 0: a slice of the tensor of all experts ([experts, out, in])
  std::string lone_tensor;    // the expert's own tensor in files of 2023
  bool query_or_key = false;  // see GgufArchitecture::interleaved
  std::string beside;         // biases of up, where those of gate and up are one parameter
};
GgufName gguf_name(Family family, const std::string& hugging_face_name);

// kv_b_proj of latent attention stands in two tensors (files of 2025 on).
struct GgufLatentNames {
  std::string keys;    // attn_k_b [heads, rank, nope]: transposed
  std::string values;  // attn_v_b [heads, v, rank]
};
// False when `hugging_face_name` is another parameter.
bool gguf_latent_names(const std::string& hugging_face_name, GgufLatentNames& names);

}  // namespace zeroth
