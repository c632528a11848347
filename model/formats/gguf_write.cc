#include "model/formats/gguf_write.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "core/parallel.h"
#include "model/formats/gguf_delta.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_names.h"
#include "model/image_codes.h"

namespace zeroth {
namespace {

constexpr uint64_t kAlignment = 32;
uint64_t aligned(uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

// Types of metadata values (ggml docs/gguf.md).
enum : uint32_t { kUint32 = 4, kInt32, kFloat32, kBool, kString, kArray, kUint64, kInt64 };

class HeaderWriter {
 public:
  template <class T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void text(const std::string& value) {
    put(uint64_t{value.size()});
    bytes_ += value;
  }
  void pair(const std::string& key, const GgufValue& value) {
    text(key);
    std::visit([&](const auto& v) { write(key, v); }, value);
  }
  std::string& bytes() { return bytes_; }

 private:
  void write(const std::string&, bool v) {
    put(uint32_t{kBool});
    put(static_cast<uint8_t>(v));
  }
  void write(const std::string&, uint64_t v) {
    const bool small = v <= UINT32_MAX;  // llama.cpp insists on 32 bits where they do
    put(uint32_t{small ? kUint32 : kUint64});
    small ? put(static_cast<uint32_t>(v)) : put(v);
  }
  void write(const std::string&, int64_t v) {
    put(uint32_t{kInt64});
    put(v);
  }
  void write(const std::string&, double v) {
    put(uint32_t{kFloat32});
    put(static_cast<float>(v));
  }
  void write(const std::string&, const std::string& v) {
    put(uint32_t{kString});
    text(v);
  }
  void write(const std::string& key, const std::vector<double>& v) {
    const bool whole =
        key == "tokenizer.ggml.token_type" || key.ends_with(".rope.dimension_sections");
    put(uint32_t{kArray});
    put(uint32_t{whole ? kInt32 : kFloat32});
    put(uint64_t{v.size()});
    for (const double x : v) whole ? put(static_cast<int32_t>(x)) : put(static_cast<float>(x));
  }
  void write(const std::string&, const std::vector<std::string>& v) {
    put(uint32_t{kArray});
    put(uint32_t{kString});
    put(uint64_t{v.size()});
    for (const std::string& item : v) text(item);
  }

  std::string bytes_;
};

// Fills `out` with the whole tensor, float32 in the file's order.
using Fill = std::function<void(float* out)>;

struct Tensor {
  GgufTensor info;
  Fill fill;
};

// One tensor of the file per call, from the parameters under their Hugging Face names.
class TensorList {
 public:
  TensorList(const PolicyConfig& config, const Parameters& parameters, GgmlType type)
      : config_(config), parameters_(parameters), type_(type) {
    interleaved_ = gguf_architecture_of(config.family).interleaved;
  }

  std::vector<Tensor> make() {
    const GgufRopeDivisors divisors = gguf_rope_divisors(config_);
    add_divisors("rope_freqs.weight", divisors.llama3);
    add_divisors("rope_factors_short.weight", divisors.short_factors);
    add_divisors("rope_factors_long.weight", divisors.long_factors);
    for (const ParameterInfo& info : parameters_.infos()) add_parameter(info);
    return std::move(tensors_);
  }

 private:
  void add_divisors(const std::string& name, const std::vector<float>& values) {
    if (values.empty()) return;
    add(name, {static_cast<int64_t>(values.size())}, GgmlType::kF32,
        [values](float* out) { std::copy(values.begin(), values.end(), out); });
  }

  void add(const std::string& name, std::vector<int64_t> shape, GgmlType type, Fill fill) {
    GgufTensor info;
    info.name = name;
    info.count = 1;
    for (const int64_t size : shape) info.count *= size;
    info.shape = std::move(shape);
    const int64_t row = info.shape.back();
    if (row % ggml_block(static_cast<uint32_t>(type), name).values != 0) type = GgmlType::kF16;
    info.type = type;
    tensors_.push_back({std::move(info), std::move(fill)});
  }

  void add_parameter(const ParameterInfo& info) {
    GgufLatentNames latent;
    if (gguf_latent_names(info.name, latent)) return add_latent(info, latent);
    const GgufDelta delta = gguf_delta(config_, info.name);
    if (!delta.tensor.empty()) return add_delta(info, delta);
    const GgufName name = gguf_name(config_.family, info.name);
    if (name.tensor.empty()) fail("llama.cpp has no place for the parameter \"" + info.name + "\"");
    if (name.expert >= 0) return add_expert(info, name);
    const std::span<const float> values = parameters_.view(info);
    if (!name.beside.empty()) return add_side_by_side(info, values, name);
    std::vector<int64_t> shape = info.shape;
    if (shape.size() == 2 && shape[0] == 1) shape.erase(shape.begin());  // a gate is a vector
    const bool exact = info.role == Role::kRouter || info.role == Role::kBias;
    const bool narrow = shape.size() > 1 && !exact;
    const bool pairs = interleaved_ && name.query_or_key;
    const float shift = config_.norm_plus_one && info.role == Role::kNorm ? 1 : 0;
    add(name.tensor, std::move(shape), narrow ? type_ : GgmlType::kF32,
        [this, values, pairs, shift, &info](float* out) {
          if (pairs) return interleave(info, values, out);
          for (const float value : values) *out++ = value + shift;
        });
  }

  void add_delta(const ParameterInfo& info, const GgufDelta& delta) {
    const int64_t rows = info.shape[0], columns = info.count / rows;
    const int64_t split = delta.beside.empty() ? rows : delta.split;
    const std::span<const float> values = parameters_.view(info);
    // llama.cpp convolves in float32.
    const bool narrow = info.shape.size() == 2;
    const auto part = [&](const std::string& tensor, int64_t first, int64_t end) {
      std::vector<int64_t> shape{end - first};
      if (info.shape.size() > 1) shape.push_back(columns);
      add(tensor, std::move(shape), narrow ? type_ : GgmlType::kF32,
          [values, delta, rows, columns, first, end](float* out) {
            for (int64_t r = 0; r < rows; ++r) {
              const int64_t place = delta.place_of_row(r);
              if (place < first || place >= end) continue;
              for (int64_t c = 0; c < columns; ++c) {
                const float value = values[static_cast<size_t>(r * columns + c)];
                out[(place - first) * columns + delta.place_of_column(c)] =
                    delta.decay ? gguf_decay(value) : value;
              }
            }
          });
    };
    part(delta.tensor, 0, split);
    if (!delta.beside.empty()) part(delta.beside, split, rows);
  }

  // Row (head, half * dim/2 + i) becomes row (head, 2 i + half).
  void interleave(const ParameterInfo& info, std::span<const float> in, float* out) const {
    const int64_t dim = config_.head_dim, rows = info.shape[0], columns = info.count / rows;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t place = row % dim, half = place / (dim / 2), i = place % (dim / 2);
      const int64_t to = row - place + 2 * i + half;
      std::copy_n(in.begin() + row * columns, columns, out + to * columns);
    }
  }

  // Biases [experts, width of gate | width of up] are two tensors.
  void add_side_by_side(const ParameterInfo& info, std::span<const float> values,
                        const GgufName& name) {
    const int64_t experts = info.shape[0], width = info.shape[1] / 2;
    for (const int64_t half : {0, 1}) {
      add(half == 0 ? name.tensor : name.beside, {experts, width}, GgmlType::kF32,
          [values, experts, width, half](float* out) {
            for (int64_t e = 0; e < experts; ++e) {
              out = std::copy_n(values.data() + (2 * e + half) * width, width, out);
            }
          });
    }
  }

  // All experts of a layer are one tensor, made when the first is met.
  void add_expert(const ParameterInfo& first, const GgufName& name) {
    if (name.expert != 0) return;
    std::vector<int64_t> shape = first.shape;
    shape.insert(shape.begin(), config_.router.experts);
    const size_t at = first.name.find(".experts.0.") + 9;
    const std::string before = first.name.substr(0, at), behind = first.name.substr(at + 1);
    add(name.tensor, std::move(shape), type_, [this, before, behind](float* out) {
      for (int e = 0; e < config_.router.experts; ++e) {
        const auto values = parameters_.view(parameters_.info(before + std::to_string(e) + behind));
        out = std::copy(values.begin(), values.end(), out);
      }
    });
  }

  void add_latent(const ParameterInfo& info, const GgufLatentNames& names) {
    const int64_t heads = config_.heads, rank = config_.latent.kv_rank,
                  nope = config_.latent.nope_dim, v = config_.latent.v_dim;
    const std::span<const float> values = parameters_.view(info);
    add(names.keys, {heads, rank, nope}, type_, [=](float* out) {
      for (int64_t h = 0; h < heads; ++h) {
        const float* head = values.data() + h * (nope + v) * rank;
        for (int64_t r = 0; r < rank; ++r) {
          for (int64_t i = 0; i < nope; ++i) *out++ = head[i * rank + r];
        }
      }
    });
    add(names.values, {heads, v, rank}, type_, [=](float* out) {
      for (int64_t h = 0; h < heads; ++h) {
        out = std::copy_n(values.data() + (h * (nope + v) + nope) * rank, v * rank, out);
      }
    });
  }

  const PolicyConfig& config_;
  const Parameters& parameters_;
  const GgmlType type_;
  bool interleaved_ = false;
  std::vector<Tensor> tensors_;
};

int64_t stored_bytes(const GgufTensor& tensor) {
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(tensor.type), tensor.name);
  return tensor.count / block.values * block.bytes;
}

// A_log as it is: a file's decays are another function's values.
void add_a_log(const PolicyConfig& config, const Parameters& parameters,
               std::map<std::string, GgufValue>& metadata) {
  std::vector<double> values;
  for (const ParameterInfo& info : parameters.infos()) {
    if (!gguf_delta(config, info.name).decay) continue;
    const std::span<const float> layer = parameters.view(info);
    values.insert(values.end(), layer.begin(), layer.end());
  }
  if (!values.empty()) metadata[kGgufALog] = std::move(values);
}

std::string header_bytes(const std::map<std::string, GgufValue>& metadata,
                         const std::vector<Tensor>& tensors) {
  HeaderWriter out;
  out.bytes() = "GGUF";
  out.put(uint32_t{3});
  out.put(uint64_t{tensors.size()});
  out.put(uint64_t{metadata.size()});
  for (const auto& [key, value] : metadata) out.pair(key, value);
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    out.text(tensor.info.name);
    out.put(static_cast<uint32_t>(tensor.info.shape.size()));
    for (auto size = tensor.info.shape.rbegin(); size != tensor.info.shape.rend(); ++size) {
      out.put(static_cast<uint64_t>(*size));
    }
    out.put(static_cast<uint32_t>(tensor.info.type));
    out.put(offset);
    offset += aligned(static_cast<uint64_t>(stored_bytes(tensor.info)));
  }
  out.bytes().resize(aligned(out.bytes().size()));
  return std::move(out.bytes());
}

void write_tensor(const Tensor& tensor, FileWriter& file) {
  std::vector<float> values(static_cast<size_t>(tensor.info.count));
  tensor.fill(values.data());
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(tensor.info.type), tensor.info.name);
  std::vector<std::byte> bytes(aligned(static_cast<uint64_t>(stored_bytes(tensor.info))));
  parallel_for(tensor.info.count / block.values, 4096, [&](int64_t begin, int64_t end) {
    ggml_quantize(tensor.info.type, values.data() + begin * block.values,
                  (end - begin) * block.values, bytes.data() + begin * block.bytes);
  });
  file.write(bytes.data(), bytes.size());
}

}  // namespace

std::string write_gguf(const std::filesystem::path& path, const PolicyConfig& config,
                       const Parameters& parameters, const Tokenizer* tokenizer,
                       const GgufOptions& options) {
  refuse_image_codes(config, "GGUF");
  std::map<std::string, GgufValue> metadata = gguf_metadata(config);
  std::string note;
  if (tokenizer != nullptr) {
    note = add_gguf_tokenizer(*tokenizer, config.vocab_size, options.word_rules, metadata);
  } else {
    metadata["tokenizer.ggml.model"] = std::string("none");
  }
  add_a_log(config, parameters, metadata);
  // llama_ftype of llama.h: what most of the file's values are.
  const std::map<GgmlType, uint64_t> file_types = {
      {GgmlType::kF32, 0}, {GgmlType::kF16, 1}, {GgmlType::kQ8_0, 7}, {GgmlType::kBf16, 32}};
  const auto file_type = file_types.find(options.type);
  if (file_type == file_types.end()) {
    fail_usage("GGUF cannot be written in this type", "use F32, F16, BF16 or Q8_0");
  }
  metadata["general.file_type"] = file_type->second;
  metadata["general.quantization_version"] = uint64_t{2};
  TensorList list(config, parameters, options.type);  // what it makes refers to it
  const std::vector<Tensor> tensors = list.make();
  std::filesystem::path partial = path;
  partial += ".partial";
  std::filesystem::remove(partial);
  {
    FileWriter file(partial);
    file.write(header_bytes(metadata, tensors));
    for (const Tensor& tensor : tensors) write_tensor(tensor, file);
    file.close();
  }
  std::filesystem::rename(partial, path);
  return note;
}

}  // namespace zeroth
