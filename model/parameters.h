// All trainable numbers of a policy in one flat float32 buffer, with names and shapes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/buffer.h"

namespace zeroth {

// What a tensor is for, in any family.
enum class Role {
  kEmbedding,
  kHead,
  kNorm,
  kBias,           // of any matrix
  kAttention,      // projections into and out of attention
  kMlp,            // of a dense layer
  kExpert,         // MLPs that a router chooses from
  kShared,         // MLPs of shared experts
  kRouter,         // chooses experts
  kSharedGate,     // scales the shared experts
  kGatedNorm,      // of a gated delta net; never plus one
  kLogDecay,       // A_log of a gated delta net
  kTimeBias,       // dt_bias of a gated delta net
  kSelectionBias,  // added to a router's scores when experts are chosen; learns by load, not
                   // gradient
};

struct ParameterInfo {
  std::string name;            // Hugging Face tensor name
  std::vector<int64_t> shape;  // row-major
  Role role = Role::kMlp;
  int layer = -1;      // -1: of no layer
  int64_t offset = 0;  // in floats, a multiple of 16 unless glued
  int64_t count = 0;
  bool trainable = true;  // false: buffers such as e_score_correction_bias
  bool decay = false;     // weight decay applies (matrices, not norms or biases)
  bool glued = false;     // starts where the one before ends: both are one fused matrix
  // Keeps every bit where the others are rounded to bfloat16: selection biases decide between
  // nearly equal experts.
  bool exact() const { return role == Role::kSelectionBias; }
};

// Puts one parameter behind others that end at `end`: sets its count and offset, returns the new
// end.
int64_t place(ParameterInfo& info, int64_t end);

class Parameters {
 public:
  // Sets counts and offsets; values start as zeros, which take memory once they are touched. Throws
  // Error when there is not enough.
  explicit Parameters(std::vector<ParameterInfo> infos);
  std::span<float> values() { return values_.span(); }
  std::span<const float> values() const { return values_.span(); }
  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const ParameterInfo& info(const std::string& name) const;  // throws Error when absent
  std::span<float> view(const ParameterInfo& info);
  std::span<const float> view(const ParameterInfo& info) const;
  // Optimizers leave the others alone (a frozen router, for example). Throws Error when absent.
  void set_trainable(const std::string& name, bool trainable);

 private:
  std::vector<ParameterInfo> infos_;
  ZeroedFloats values_{0};
};

// A parameter's values, wherever they are: in memory that lasts, or in `room`, which is the caller's.
using ParameterReader =
    std::function<std::span<const float>(const ParameterInfo&, std::vector<float>& room)>;

// Where the values of a model's parameters come from when a checkpoint is loaded. Thread safe.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Values [first, first + out.size()) of parameter `i` of the layout: whole rows of a matrix. One
  // that is not finite is an Error with the tensor's name.
  virtual void read(size_t i, int64_t first, std::span<float> out) const = 0;
  // Grows with the place of parameter `i` in the files: read in this order, a disk is fast.
  virtual uint64_t place(size_t i) const = 0;
};
// Reads every value, on all threads.
void read_all(const WeightSource& source, Parameters& parameters);
// Calls body(0) .. body(n - 1) on all threads, each started in this order.
void parallel_in_order(int64_t n, const std::function<void(int64_t)>& body);
// Values of a piece of reading: it stays in a core's cache.
inline constexpr int64_t kReadPiece = int64_t{1} << 17;
// body(piece) for all pieces on all threads, started in the order of their `place`.
template <class Piece, class Body>
void for_each_by_place(std::vector<Piece>& pieces, const Body& body) {
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.place < b.place; });
  parallel_in_order(static_cast<int64_t>(pieces.size()), [&](int64_t i) { body(pieces[i]); });
}

// The index of the first value that is not finite; the size when all are.
size_t first_not_finite(std::span<const float> values);

}  // namespace zeroth
