// Weights out of GGUF files: the layouts of llama.cpp's tensors (conversion/*.py of llama.cpp).
#include <cmath>
#include <set>

#include "core/error.h"
#include "policy/gguf_model.h"
#include "policy/gguf_names.h"

namespace zeroth {
namespace {

// Where the values of one parameter stand.
struct Place {
  const GgufTensor* tensor = nullptr;
  int64_t first = 0;        // value index in the tensor
  bool rope_pairs = false;  // rows of a head in interleaved order
};

class WeightReader {
 public:
  WeightReader(const GgufFile& file, const PolicyConfig& config)
      : file_(file), gguf_(file.contents()), config_(config) {
    // llama.cpp turns (i, i + dim/2) into neighbours for this architecture only.
    interleaved_ = gguf_.text("general.architecture") == "llama";
  }

  void read(Parameters& parameters) {
    for (const ParameterInfo& info : parameters.infos()) read_one(info, parameters.view(info));
    for (const auto& [name, tensor] : gguf_.tensors) {
      if (used_.contains(name) || name == "rope_freqs.weight" || of_extra_layer(name)) continue;
      fail(gguf_.source + " has the unexpected tensor \"" + name + "\"",
           "its architecture \"" + gguf_.text("general.architecture") +
               "\" has no place for it here");
    }
  }

 private:
  // Multi-token prediction layers stand behind the others.
  bool of_extra_layer(const std::string& name) const {
    return name.starts_with("blk.") && std::atoi(name.c_str() + 4) >= config_.layers;
  }

  const GgufTensor* find(const std::string& name) {
    const auto it = gguf_.tensors.find(name);
    if (it == gguf_.tensors.end()) return nullptr;
    used_.insert(name);
    return &it->second;
  }

  Place locate(const ParameterInfo& info) {
    const GgufName name = gguf_name(info.name);
    if (name.tensor.empty()) return {};
    if (name.expert >= 0) return expert(info, name);
    Place place = whole(info, name.tensor);
    place.rope_pairs = interleaved_ && name.query_or_key;
    return place;
  }

  // A slice of the tensor of all experts, or (old files) a tensor of its own.
  Place expert(const ParameterInfo& info, const GgufName& name) {
    const GgufTensor* all = find(name.tensor);
    if (all == nullptr) return whole(info, name.lone_tensor);
    std::vector<int64_t> shape = info.shape;
    shape.insert(shape.begin(), config_.router.experts);
    check_shape(*all, shape);
    return {all, name.expert * info.count, false};
  }

  Place whole(const ParameterInfo& info, const std::string& name) {
    const GgufTensor* tensor = find(name);
    if (tensor == nullptr) return {};
    // A gate of one row is stored as a vector.
    std::vector<int64_t> shape = info.shape;
    if (shape.size() == 2 && shape[0] == 1 && tensor->shape.size() == 1) shape.erase(shape.begin());
    check_shape(*tensor, shape);
    return {tensor, 0, false};
  }

  void check_shape(const GgufTensor& tensor, const std::vector<int64_t>& wanted) const {
    if (tensor.shape == wanted) return;
    const auto text = [](const std::vector<int64_t>& shape) {
      std::string out = "[";
      for (size_t i = 0; i < shape.size(); ++i) {
        out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
      }
      return out + "]";
    };
    fail(gguf_.source + ": tensor \"" + tensor.name + "\" is " + text(tensor.shape) +
             ", the config needs " + text(wanted),
         "the file's metadata does not belong to its weights");
  }

  void read_one(const ParameterInfo& info, std::span<float> out) {
    if (join_latent_heads(info, out)) return check_finite(info, out);
    const Place place = locate(info);
    if (place.tensor == nullptr) {
      fail(gguf_.source + " lacks the tensor for \"" + info.name + "\"",
           "the file is cut or its architecture has another form");
    }
    file_.read(*place.tensor, place.first, info.count, out.data());
    if (place.rope_pairs) separate_pairs(info, out);
    check_finite(info, out);
  }

  // Row (head, 2 i + half) of the file is row (head, half * dim/2 + i) here.
  void separate_pairs(const ParameterInfo& info, std::span<float> out) const {
    const int64_t dim = config_.head_dim;
    const int64_t rows = info.shape[0];
    const int64_t columns = info.count / rows;
    const std::vector<float> in(out.begin(), out.end());
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t head = row / dim, place = row % dim;
      const int64_t to = head * dim + place % 2 * (dim / 2) + place / 2;
      std::copy_n(in.begin() + row * columns, columns, out.begin() + to * columns);
    }
  }

  // Newer files store kv_b_proj in two: attn_k_b [heads, rank, nope] (transposed) and attn_v_b
  // [heads, v, rank]; kv_b_proj is [heads * (nope + v), rank].
  bool join_latent_heads(const ParameterInfo& info, std::span<float> out) {
    GgufLatentNames names;
    if (!gguf_latent_names(info.name, names)) return false;
    const GgufTensor* keys = find(names.keys);
    const GgufTensor* values = find(names.values);
    if (keys == nullptr || values == nullptr) return false;
    const int64_t heads = config_.heads, rank = config_.latent.kv_rank,
                  nope = config_.latent.nope_dim, v = config_.latent.v_dim;
    check_shape(*keys, {heads, rank, nope});
    check_shape(*values, {heads, v, rank});
    std::vector<float> k(static_cast<size_t>(keys->count)), w(static_cast<size_t>(values->count));
    file_.read(*keys, 0, keys->count, k.data());
    file_.read(*values, 0, values->count, w.data());
    for (int64_t h = 0; h < heads; ++h) {
      float* head = out.data() + h * (nope + v) * rank;
      for (int64_t i = 0; i < nope; ++i) {
        for (int64_t r = 0; r < rank; ++r) head[i * rank + r] = k[(h * rank + r) * nope + i];
      }
      std::copy_n(w.data() + h * v * rank, v * rank, head + nope * rank);
    }
    return true;
  }

  void check_finite(const ParameterInfo& info, std::span<const float> values) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      fail(
          gguf_.source + ": value " + std::to_string(i) + " of \"" + info.name + "\" is not finite",
          "the weights are damaged; fetch the file again");
    }
  }

  const GgufFile& file_;
  const GgufContents& gguf_;
  const PolicyConfig& config_;
  bool interleaved_ = false;
  std::set<std::string> used_;
};

}  // namespace

void read_gguf_weights(const GgufFile& file, const PolicyConfig& config, Parameters& parameters) {
  WeightReader(file, config).read(parameters);
}

}  // namespace zeroth
