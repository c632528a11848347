// Published weights as bytes, and back: what one machine hands another.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "kernels/element.h"
#include "model/config.h"
#include "policy/weights.h"

namespace zeroth {

struct Architecture;  // policy/decoder.h

// A tensor of an image: row-major little-endian values as they are published (float32 or bfloat16),
// at a multiple of 64 bytes.
struct ImageTensor {
  std::string name = {};  // of the checkpoint
  std::vector<int64_t> shape = {};
  uint64_t offset = 0, bytes = 0;
  int64_t count = 0;
  size_t parameter = 0;  // its number in the layout
  bool narrow = false;   // bfloat16
};

// Where the tensors of a model lie: in the order of their names. A pure function of the config and
// the type of published weights, so the bytes of an image need no description. Immutable.
class ImageLayout {
 public:
  explicit ImageLayout(const PolicyConfig& config,
                       kernels::Element element = kernels::Element::kFloat32);
  const std::vector<ImageTensor>& tensors() const { return tensors_; }
  uint64_t bytes() const { return bytes_; }
  kernels::Element element() const { return element_; }
  // Bytes of one value: what differences are looked for in.
  int element_bytes() const { return element_ == kernels::Element::kBfloat16 ? 2 : 4; }

  // Memory of an image [bytes()]: that of the last one that nobody holds any more, or new. New
  // memory costs as much time as the bytes that are written to it. Thread safe.
  Memory<char> take() const;
  void leave(Memory<char> memory) const;

 private:
  mutable std::mutex mutex_;
  mutable Memory<char> spare_;
  kernels::Element element_;
  std::vector<ImageTensor> tensors_;
  uint64_t bytes_ = 0;
};
using ImageLayoutPtr = std::shared_ptr<const ImageLayout>;

// The bytes themselves. Filled once, then shared.
class WeightsImage {
 public:
  explicit WeightsImage(
      ImageLayoutPtr layout);  // gaps between tensors are zero, the rest is not set
  // Reads all values, on all threads. The weights are of the layout's type.
  WeightsImage(ImageLayoutPtr layout, const Weights& weights);
  ~WeightsImage() { layout_->leave(std::move(data_)); }
  WeightsImage(const WeightsImage&) = delete;

  const ImageLayout& layout() const { return *layout_; }
  std::span<char> bytes() { return {data_.get(), layout_->bytes()}; }
  std::span<const char> bytes() const { return {data_.get(), layout_->bytes()}; }
  // Weights::sha256 of weights with these values, on all threads.
  std::string sha256() const;

 private:
  ImageLayoutPtr layout_;
  Memory<char> data_;
};
using WeightsImagePtr = std::shared_ptr<const WeightsImage>;

// Makes weights of images. They share what weights of one model share, so a version takes the
// memory of the last one that nobody holds. Thread safe.
class WeightsMaker {
 public:
  explicit WeightsMaker(const PolicyConfig& config,
                        kernels::Element element = kernels::Element::kFloat32,
                        const kernels::Operators& ops = kernels::cpu_operators());
  // A value that is not finite is an Error with the tensor's name.
  WeightsPtr make(const WeightsImage& image, WeightsVersion version) const;

 private:
  std::shared_ptr<const Architecture> architecture_;
};

}  // namespace zeroth
