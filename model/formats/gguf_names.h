// What llama.cpp calls things: architectures, tensors of a layer (gguf-py, constants.py and
// tensor_mapping.py; conversion/*.py of llama.cpp). One table for reading and for writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace zeroth {

struct GgufArchitecture {
  const char* gguf;  // general.architecture
  Family family;     // the plain one; metadata tell experts (Mixtral) and V3 apart
};
// Throws Error naming `source` for a name that is not known.
const GgufArchitecture& gguf_architecture(const std::string& name, const std::string& source);
// The name that llama.cpp has for the family's decoder (Mixtral is a "llama" with experts).
const char* gguf_architecture_of(Family family);

// Where a parameter stands in the file.
struct GgufName {
  std::string tensor;         // empty: llama.cpp has no place for it
  int64_t expert = -1;        // >= 0: a slice of the tensor of all experts ([experts, out, in])
  std::string lone_tensor;    // the expert's own tensor in files of 2023
  bool query_or_key = false;  // rows of a head are interleaved for architecture "llama"
};
GgufName gguf_name(const std::string& hugging_face_name);

// kv_b_proj of latent attention stands in two tensors (files of 2025 on).
struct GgufLatentNames {
  std::string keys;    // attn_k_b [heads, rank, nope]: transposed
  std::string values;  // attn_v_b [heads, v, rank]
};
// False when `hugging_face_name` is another parameter.
bool gguf_latent_names(const std::string& hugging_face_name, GgufLatentNames& names);

}  // namespace zeroth
