// How llama.cpp's files hold gated delta nets (conversion/qwen.py, src/models/qwen3next.cpp and
// qwen35.cpp of llama.cpp). One description for reading and for writing.
#pragma once

#include <cstdint>
#include <string>

#include "model/config.h"

namespace zeroth {

// Where a parameter of a gated delta net stands. Rows and columns are those of a matrix [rows,
// columns]; a vector has one column.
struct GgufDelta {
  std::string tensor;    // empty: the parameter is none of a gated delta net
  std::string beside;    // holds the rows behind the first `split`, which are those of `tensor`
  std::string together;  // of both in files of 2025, in the order of Hugging Face
  int64_t split = 0;
  bool decay = false;  // the file holds gguf_decay() of the values

  // Places in the file, through `tensor` and then `beside`.
  int64_t place_of_row(int64_t row) const;
  int64_t place_of_column(int64_t column) const;

  kernels::DeltaShape shape;
  bool by_key = false;  // rows here: queries, keys, values and gates of a key head, then the next
  int64_t first_tile = 0;  // rows in front of it stay
  // Rows or columns of a value head. Here the value heads of a key head are neighbours; Qwen3.5's
  // files have the first one of every key head, then the second ones. 0: they stay.
  int64_t row_tile = 0, column_tile = 0;
};
GgufDelta gguf_delta(const PolicyConfig& config, const std::string& hugging_face_name);

// -exp(A_log), what a state is multiplied by per unit of time: not every float has one of its own.
float gguf_decay(float a_log);
// The inverse, as near as float32 comes. Throws Error naming `source` for a positive decay.
float gguf_a_log(float decay, const std::string& source);
// Metadata of Zeroth's own files: A_log of every gated delta net [layers * value heads], in the
// order of Hugging Face.
inline constexpr const char* kGgufALog = "zeroth.ssm.a_log";

}  // namespace zeroth
