#include "policy/weights_image.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/sha256_many.h"
#include "kernels/rows.h"
#include "policy/decoder.h"

namespace zeroth {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kAlign = 64;

// An image as the file that weights are loaded from.
class ImageSource : public WeightSource {
 public:
  explicit ImageSource(const WeightsImage& image) : image_(image) {
    by_parameter_.resize(image.layout().tensors().size());
    for (const ImageTensor& tensor : image.layout().tensors())
      by_parameter_[tensor.parameter] = &tensor;
  }
  void read(size_t i, int64_t first, std::span<float> out) const override {
    const ImageTensor& tensor = *by_parameter_[i];
    const char* from = image_.bytes().data() + tensor.offset;
    if (tensor.narrow) {
      kernels::widen(reinterpret_cast<const kernels::Bfloat16*>(from) + first, out.data(),
                     static_cast<int64_t>(out.size()));
    } else {
      std::memcpy(out.data(), from + first * sizeof(float), out.size_bytes());
    }
    if (first_not_finite(out) != out.size())
      fail("tensor '" + tensor.name + "' of the received weights holds a value that is not finite",
           "the policy has diverged: go back to an earlier checkpoint");
  }
  uint64_t place(size_t i) const override { return by_parameter_[i]->offset; }

 private:
  const WeightsImage& image_;
  std::vector<const ImageTensor*> by_parameter_;
};

}  // namespace

ImageLayout::ImageLayout(const PolicyConfig& config, kernels::Element element) : element_(element) {
  const Layout layout = make_layout(config);
  for (size_t i = 0; i < layout.infos.size(); ++i) {
    const ParameterInfo& info = layout.infos[i];
    const bool narrow = published_narrow(info, element);
    tensors_.push_back({.name = info.name,
                        .shape = info.shape,
                        .bytes = static_cast<uint64_t>(info.count) * (narrow ? 2 : 4),
                        .count = info.count,
                        .parameter = i,
                        .narrow = narrow});
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const ImageTensor& a, const ImageTensor& b) { return a.name < b.name; });
  for (ImageTensor& tensor : tensors_) {
    tensor.offset = bytes_;
    bytes_ += (tensor.bytes + kAlign - 1) / kAlign * kAlign;
  }
}

Memory<char> ImageLayout::take() const {
  {
    std::lock_guard lock(mutex_);
    if (spare_) return std::move(spare_);
  }
  return allocate_array<char>(bytes_);
}

void ImageLayout::leave(Memory<char> memory) const {
  std::lock_guard lock(mutex_);
  spare_ = std::move(memory);
}

WeightsImage::WeightsImage(ImageLayoutPtr layout)
    : layout_(std::move(layout)), data_(layout_->take()) {
  for (const ImageTensor& tensor : layout_->tensors()) {
    const uint64_t end = tensor.offset + tensor.bytes;
    std::memset(data_.get() + end, 0, (end + kAlign - 1) / kAlign * kAlign - end);
  }
}

WeightsImage::WeightsImage(ImageLayoutPtr layout, const Weights& weights)
    : WeightsImage(std::move(layout)) {
  std::vector<const ImageTensor*> tensors(layout_->tensors().size());
  for (const ImageTensor& tensor : layout_->tensors()) tensors[tensor.parameter] = &tensor;
  read_published(weights.impl(), [&](size_t i, int64_t first, std::span<const float> values) {
    char* to = data_.get() + tensors[i]->offset;
    if (tensors[i]->narrow) {  // exact: they were rounded when they were published
      kernels::narrow(values.data(), reinterpret_cast<kernels::Bfloat16*>(to) + first,
                      static_cast<int64_t>(values.size()));
    } else {
      std::memcpy(to + first * sizeof(float), values.data(), values.size_bytes());
    }
  });
}

std::string WeightsImage::sha256() const {
  const std::vector<ImageTensor>& tensors = layout_->tensors();
  std::vector<std::string_view> values;
  values.reserve(tensors.size());
  for (const ImageTensor& tensor : tensors)
    values.emplace_back(data_.get() + tensor.offset, tensor.bytes);
  const std::vector<std::string> hashes = sha256_hex_many(values);
  std::vector<std::string> lines;
  for (size_t i = 0; i < tensors.size(); ++i)
    lines.push_back(tensor_line(tensors[i].name, tensors[i].shape, tensors[i].narrow, hashes[i]));
  return hash_of_lines(std::move(lines));
}

WeightsMaker::WeightsMaker(const PolicyConfig& config, kernels::Element element,
                           const kernels::Operators& ops)
    : architecture_(std::make_shared<const Architecture>(config, element, ops)) {}

WeightsPtr WeightsMaker::make(const WeightsImage& image, WeightsVersion version) const {
  return publish_from(architecture_, ImageSource(image), nullptr, version);
}

}  // namespace zeroth
