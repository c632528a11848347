// Weights out of GGUF files: the layouts of llama.cpp's tensors (conversion/*.py of llama.cpp).
#include <algorithm>
#include <memory>
#include <set>

#include "core/error.h"
#include "model/formats/gguf_delta.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_names.h"
#include "model/layout.h"

namespace zeroth {
namespace {

// Where the values of one parameter stand.
struct Place {
  const GgufTensor* tensor = nullptr;
  const GgufTensor* values = nullptr;  // latent heads: `tensor` holds the keys, this the values
  const GgufTensor* beside = nullptr;  // biases of gate and up: `tensor` holds gate's, this up's
  int64_t first = 0;                   // value index in the tensor
  bool rope_pairs = false;             // rows of a head in interleaved order
  bool delta = false;                  // as GgufDelta says; `beside` may hold the rest of the rows
};

// A model that is cut into several files cannot be read from one of them.
const GgufContents& whole_file(const GgufContents& gguf) {
  const int64_t parts = gguf.number("split.count", 1);
  if (parts <= 1) return gguf;
  fail(gguf.source + " is part " + std::to_string(gguf.number("split.no", 0) + 1) + " of " +
           std::to_string(parts) + " of a split GGUF",
       "join the parts with llama.cpp's llama-gguf-split --merge, and give the result");
}

class GgufWeights : public WeightSource {
 public:
  GgufWeights(const std::filesystem::path& path)
      : file_(path),
        gguf_(whole_file(file_.contents())),
        config_(PolicyConfig::from_json(gguf_config(file_), path.string())),
        infos_(make_layout(config_).infos) {
    interleaved_ = gguf_architecture(gguf_).interleaved;
    std::set<std::string> used{"rope_freqs.weight", "rope_factors_short.weight",
                               "rope_factors_long.weight"};
    for (const ParameterInfo& info : infos_) places_.push_back(locate(info, used));
    for (const auto& [name, tensor] : gguf_.tensors) {
      if (used.contains(name) || of_extra_layer(name)) continue;
      fail(gguf_.source + " has the unexpected tensor \"" + name + "\"",
           "its architecture \"" + gguf_.text("general.architecture") +
               "\" has no place for it here");
    }
  }
  const PolicyConfig& config() const { return config_; }

  void read(size_t i, int64_t first, std::span<float> out) const override {
    const Place& place = places_[i];
    const ParameterInfo& info = infos_[i];
    if (place.delta) {
      read_delta(place, info, first, out);
    } else if (place.values != nullptr) {
      read_latent_heads(place, first / config_.latent.kv_rank, out);
    } else if (place.beside != nullptr) {
      read_side_by_side(place, info.shape[1] / 2, first, out);
    } else if (place.rope_pairs) {
      read_pairs(place, info, first / (info.count / info.shape[0]), out);
    } else {
      file_.read(*place.tensor, place.first + first, static_cast<int64_t>(out.size()), out.data());
    }
    if (config_.norm_plus_one && info.role == Role::kNorm) {
      for (float& value : out) value -= 1;  // llama.cpp keeps what norms multiply by
    }
    const size_t bad = first_not_finite(out);
    if (bad == out.size()) return;
    fail(gguf_.source + ": value " + std::to_string(first + static_cast<int64_t>(bad)) + " of \"" +
             info.name + "\" is not finite",
         "the weights are damaged; fetch the file again");
  }

  uint64_t place(size_t i) const override {
    return places_[i].tensor->begin + static_cast<uint64_t>(places_[i].first);
  }

 private:
  // Multi-token prediction layers stand behind the others.
  bool of_extra_layer(const std::string& name) const {
    return name.starts_with("blk.") && std::atoi(name.c_str() + 4) >= config_.layers;
  }

  const GgufTensor* find(const std::string& name, std::set<std::string>& used) const {
    const auto it = gguf_.tensors.find(name);
    if (it == gguf_.tensors.end()) return nullptr;
    used.insert(name);
    return &it->second;
  }

  Place locate(const ParameterInfo& info, std::set<std::string>& used) const {
    Place place = latent_heads(info, used);
    if (place.tensor == nullptr) place = delta_net(info, used);
    if (place.tensor == nullptr) {
      const GgufName name = gguf_name(config_.family, info.name);
      if (!name.beside.empty()) {
        ParameterInfo half = info;
        half.shape[1] /= 2;
        place = whole(half, name.tensor, used);
        place.beside = whole(half, name.beside, used).tensor;
        if (place.beside == nullptr) place.tensor = nullptr;
      } else if (name.expert >= 0) {
        place = expert(info, name, used);
      } else if (!name.tensor.empty()) {
        place = whole(info, name.tensor, used);
        place.rope_pairs = interleaved_ && name.query_or_key;
      }
    }
    if (place.tensor == nullptr) {
      fail(gguf_.source + " lacks the tensor for \"" + info.name + "\"",
           "the file is cut or its architecture has another form");
    }
    return place;
  }

  // A slice of the tensor of all experts, or (old files) a tensor of its own.
  Place expert(const ParameterInfo& info, const GgufName& name, std::set<std::string>& used) const {
    const GgufTensor* all = find(name.tensor, used);
    if (all == nullptr) return whole(info, name.lone_tensor, used);
    std::vector<int64_t> shape = info.shape;
    shape.insert(shape.begin(), config_.router.experts);
    check_shape(*all, shape);
    return {all, nullptr, nullptr, name.expert * info.count};
  }

  Place whole(const ParameterInfo& info, const std::string& name,
              std::set<std::string>& used) const {
    const GgufTensor* tensor = find(name, used);
    if (tensor == nullptr) return {};
    // A gate of one row is stored as a vector.
    std::vector<int64_t> shape = info.shape;
    if (shape.size() == 2 && shape[0] == 1 && tensor->shape.size() == 1) shape.erase(shape.begin());
    check_shape(*tensor, shape);
    return {tensor};
  }

  // Newer files store kv_b_proj in two: attn_k_b [heads, rank, nope] (transposed) and attn_v_b
  // [heads, v, rank].
  Place latent_heads(const ParameterInfo& info, std::set<std::string>& used) const {
    GgufLatentNames names;
    if (!gguf_latent_names(info.name, names) || !gguf_.tensors.contains(names.keys) ||
        !gguf_.tensors.contains(names.values)) {
      return {};
    }
    const Place place{find(names.keys, used), find(names.values, used)};
    const LatentConfig& latent = config_.latent;
    check_shape(*place.tensor, {config_.heads, latent.kv_rank, latent.nope_dim});
    check_shape(*place.values, {config_.heads, latent.v_dim, latent.kv_rank});
    return place;
  }

  Place delta_net(const ParameterInfo& info, std::set<std::string>& used) const {
    const GgufDelta delta = gguf_delta(config_, info.name);
    if (delta.tensor.empty()) return {};
    // A convolution [channels, 1, taps] is stored as a matrix.
    ParameterInfo part = info;
    if (part.shape.size() == 3) part.shape.erase(part.shape.begin() + 1);
    if (!delta.together.empty() && gguf_.tensors.contains(delta.together)) {
      return whole(part, delta.together, used);
    }
    Place place;
    place.delta = true;
    if (!delta.beside.empty()) {
      part.shape[0] = info.shape[0] - delta.split;
      place.beside = whole(part, delta.beside, used).tensor;
      if (place.beside == nullptr) return {};
      part.shape[0] = delta.split;
    }
    place.tensor = whole(part, delta.tensor, used).tensor;
    return place;
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

  // Rows from `first_row` on. Row (head, half * dim/2 + i) here is row (head, 2 i + half) of the
  // file.
  void read_pairs(const Place& place, const ParameterInfo& info, int64_t first_row,
                  std::span<float> out) const {
    const int64_t dim = config_.head_dim, columns = info.count / info.shape[0];
    const int64_t rows = static_cast<int64_t>(out.size()) / columns;
    const int64_t begin = first_row / dim * dim, end = (first_row + rows + dim - 1) / dim * dim;
    std::vector<float> heads(static_cast<size_t>((end - begin) * columns));
    file_.read(*place.tensor, begin * columns, (end - begin) * columns, heads.data());
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = first_row + r, at = row % dim;
      const int64_t from = row - at + at % (dim / 2) * 2 + at / (dim / 2) - begin;
      std::copy_n(heads.begin() + from * columns, columns, out.begin() + r * columns);
    }
  }

  // Values from `first` on; rows that are neighbours in the file too are read together.
  void read_delta(const Place& place, const ParameterInfo& info, int64_t first,
                  std::span<float> out) const {
    const GgufDelta delta = gguf_delta(config_, info.name);
    const int64_t columns = info.count / info.shape[0];
    const auto size = static_cast<int64_t>(out.size());
    for (int64_t done = 0; done < size;) {
      const int64_t row = (first + done) / columns, column = (first + done) % columns;
      const int64_t at = delta.place_of_row(row);
      const bool behind = place.beside != nullptr && at >= delta.split;
      int64_t n = std::min(columns - column, size - done);
      for (int64_t k = 1; done + n < size && delta.place_of_row(row + k) == at + k &&
                          (place.beside == nullptr || behind || at + k < delta.split);
           ++k) {
        n = std::min(n + columns, size - done);
      }
      file_.read(behind ? *place.beside : *place.tensor,
                 (behind ? at - delta.split : at) * columns + column, n, out.data() + done);
      done += n;
    }
    if (delta.column_tile > 0) put_columns_back(delta, columns, out);
    if (delta.decay) decays_to_a_log(info, first, out);
  }

  static void put_columns_back(const GgufDelta& delta, int64_t columns, std::span<float> out) {
    std::vector<float> row(static_cast<size_t>(columns));
    for (size_t begin = 0; begin < out.size(); begin += row.size()) {
      std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(begin), columns, row.begin());
      for (int64_t c = 0; c < columns; ++c) {
        out[begin + static_cast<size_t>(c)] = row[static_cast<size_t>(delta.place_of_column(c))];
      }
    }
  }

  // Zeroth's own files also say what the decays were made of, which counts where it still gives them.
  void decays_to_a_log(const ParameterInfo& info, int64_t first, std::span<float> out) const {
    const std::vector<double>& kept = gguf_.numbers(kGgufALog);
    const std::string layers = "model.layers.";
    const int layer = std::atoi(info.name.c_str() + layers.size());
    const auto before = std::count(config_.recurrent.begin(), config_.recurrent.begin() + layer, 1);
    for (size_t i = 0; i < out.size(); ++i) {
      const float decay = out[i];
      out[i] = gguf_a_log(decay, gguf_.source + ": a value of \"" + info.name + "\"");
      const auto at = static_cast<size_t>(before * info.count + first) + i;
      if (at >= kept.size()) continue;
      const auto a_log = static_cast<float>(kept[at]);
      if (gguf_decay(a_log) == decay) out[i] = a_log;
    }
  }

  // Values from `first` on of [experts, width of gate | width of up].
  void read_side_by_side(const Place& place, int64_t width, int64_t first,
                         std::span<float> out) const {
    for (size_t i = 0; i < out.size();) {
      const int64_t at = first + static_cast<int64_t>(i), half = at / width, j = at % width;
      const int64_t n = std::min(width - j, static_cast<int64_t>(out.size() - i));
      file_.read(half % 2 == 0 ? *place.tensor : *place.beside, half / 2 * width + j, n,
                 out.data() + i);
      i += static_cast<size_t>(n);
    }
  }

  // Rows from `first_row` on of kv_b_proj [heads * (nope + v), rank].
  void read_latent_heads(const Place& place, int64_t first_row, std::span<float> out) const {
    const int64_t rank = config_.latent.kv_rank, nope = config_.latent.nope_dim,
                  v = config_.latent.v_dim;
    const int64_t rows = static_cast<int64_t>(out.size()) / rank;
    std::vector<float> keys(static_cast<size_t>(rank * nope));  // of one head
    int64_t loaded = -1;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t head = (first_row + r) / (nope + v), i = (first_row + r) % (nope + v);
      float* row = out.data() + r * rank;
      if (i >= nope) {
        file_.read(*place.values, (head * v + i - nope) * rank, rank, row);
        continue;
      }
      if (loaded != head) file_.read(*place.tensor, head * rank * nope, rank * nope, keys.data());
      loaded = head;
      for (int64_t k = 0; k < rank; ++k) row[k] = keys[k * nope + i];
    }
  }

  const GgufFile file_;
  const GgufContents& gguf_;
  const PolicyConfig config_;
  const std::vector<ParameterInfo> infos_;
  std::vector<Place> places_;  // one per parameter
  bool interleaved_ = false;
};

}  // namespace

OpenModel open_gguf(const std::filesystem::path& path) {
  auto weights = std::make_unique<GgufWeights>(path);
  const PolicyConfig config = weights->config();
  return {config, std::move(weights)};
}

}  // namespace zeroth
