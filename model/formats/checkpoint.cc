#include "model/formats/checkpoint.h"

#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "model/formats/gguf_model.h"
#include "model/formats/safetensors.h"
#include "model/layout.h"

namespace zeroth {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

struct Stored {
  const SafetensorsFile* file = nullptr;
  const TensorEntry* entry = nullptr;
  uint64_t place = 0;  // in all files behind each other
};
using Stock = std::unordered_map<std::string, Stored>;

// Where the values of one parameter are: the whole of a stored tensor or a run inside it.
struct Source {
  Stored stored;
  int64_t first = 0;  // value index within the stored tensor
  Stored scale;       // float8 only
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The names of weight files, relative to `dir`.
std::vector<std::string> weight_files(const std::filesystem::path& dir, Json& weight_map) {
  weight_map = Json::object();
  if (!std::filesystem::exists(dir / kIndex)) {
    if (!std::filesystem::exists(dir / kSingle)) {
      fail("no " + std::string(kSingle) + " or " + kIndex + " in " + dir.string(),
           "give a Hugging Face model directory with safetensors weights (other formats: convert "
           "them with transformers' save_pretrained)");
    }
    return {kSingle};
  }
  const std::string where = (dir / kIndex).string();
  const Json index = read_json_file(dir / kIndex);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail(where + ": 'weight_map' is missing or not an object", "fetch the index again");
  }
  weight_map = index["weight_map"];
  std::map<std::string, int> names;  // sorted, unique
  for (const auto& [tensor, file] : weight_map.items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name[0] == '.' ||
        name.find('\0') != std::string::npos) {
      fail(where + ": tensor '" + tensor + "' has no plain file name", "fetch the index again");
    }
    names[name] = 0;
  }
  std::vector<std::string> files;
  for (const auto& [name, unused] : names) files.push_back(name);
  return files;
}

// Fused layouts store all experts of a layer in two tensors. For "P.experts.3.up_proj.weight" of
// [I, H] the values are rows 3 * 2I + I ... of "P.experts.gate_up_proj".
struct FusedExpert {
  std::string name;
  int64_t expert = 0;
  int64_t part = 0, parts = 1;  // position among the matrices of one expert
};

bool fused_name(const std::string& name, FusedExpert& out) {
  const size_t at = name.find(".experts.");
  if (at == std::string::npos) return false;
  const size_t number = at + 9;
  const size_t dot = name.find('.', number);
  if (dot == std::string::npos || dot == number || dot - number > 6) return false;
  const std::string part = name.substr(dot + 1);
  const bool gate = part == "gate_proj.weight" || part == "w1.weight";
  const bool up = part == "up_proj.weight" || part == "w3.weight";
  if (!gate && !up && part != "down_proj.weight" && part != "w2.weight") return false;
  std::string block = name.substr(0, at);
  const std::string old_block = "block_sparse_moe";
  if (ends_with(block, old_block)) block.replace(block.size() - old_block.size(), 16, "mlp");
  out.expert = std::stoll(name.substr(number, dot - number));
  out.name = block + (gate || up ? ".experts.gate_up_proj" : ".experts.down_proj");
  out.part = up ? 1 : 0;
  out.parts = gate || up ? 2 : 1;
  return true;
}

std::string short_router_name(const std::string& name) {
  const std::string old_name = ".block_sparse_moe.gate.weight";
  if (!ends_with(name, old_name)) return "";
  return name.substr(0, name.size() - old_name.size()) + ".mlp.gate.weight";
}

class Matcher {
 public:
  Matcher(const PolicyConfig& config, const std::string& where, const Stock& stock)
      : config_(config), where_(where), stock_(stock) {}

  Source match(const ParameterInfo& info) {
    Source source;
    if (take(info.name, source.stored) || take(short_router_name(info.name), source.stored)) {
      if (source.stored.entry->shape != info.shape) {
        fail_shape(source.stored.entry->name, source.stored.entry->shape, info.shape);
      }
    } else if (!match_fused(info, source)) {
      ++missing_;
      if (first_missing_.empty()) first_missing_ = info.name;
      return source;
    }
    check_type(info, source);
    return source;
  }

  void finish(std::vector<std::string>& skipped) const {
    if (missing_ > 0) {
      fail(where_ + " lacks tensor '" + first_missing_ + "'" +
               (missing_ > 1 ? " and " + std::to_string(missing_ - 1) + " more" : ""),
           "the weights do not belong to this config.json, or a file is missing");
    }
    std::vector<std::string> unused;
    for (const auto& [name, stored] : stock_) {
      if (!used_.count(name)) (skippable(name) ? skipped : unused).push_back(name);
    }
    std::sort(skipped.begin(), skipped.end());
    std::sort(unused.begin(), unused.end());
    if (!unused.empty()) {
      fail(where_ + " has the unexpected tensor '" + unused.front() + "'" +
               (unused.size() > 1 ? " and " + std::to_string(unused.size() - 1) + " more" : ""),
           "the weights do not belong to this config.json");
    }
  }

 private:
  [[noreturn]] void fail_shape(const std::string& name, const std::vector<int64_t>& found,
                               const std::vector<int64_t>& wanted) const {
    fail(where_ + ": tensor '" + name + "' has shape " + shape_text(found) +
             ", but config.json asks for " + shape_text(wanted),
         "the weights do not belong to this config.json");
  }
  bool take(const std::string& name, Stored& out) {
    const auto it = stock_.find(name);
    if (it == stock_.end()) return false;
    out = it->second;
    used_.insert(name);
    return true;
  }
  bool match_fused(const ParameterInfo& info, Source& source) {
    FusedExpert fused;
    if (!fused_name(info.name, fused) || !take(fused.name, source.stored)) return false;
    const std::vector<int64_t> wanted = {config_.router.experts, fused.parts * info.shape[0],
                                         info.shape[1]};
    if (source.stored.entry->shape != wanted) {
      fail_shape(fused.name, source.stored.entry->shape, wanted);
    }
    source.first = (fused.expert * fused.parts + fused.part) * info.count;
    return true;
  }
  void check_type(const ParameterInfo& info, Source& source) {
    const TensorEntry& entry = *source.stored.entry;
    if (entry.dtype == DType::kOther) {
      fail(where_ + ": tensor '" + entry.name + "' is stored as " + entry.dtype_name,
           "weights must be F32, F16, BF16 or F8_E4M3");
    }
    if (entry.dtype != DType::kF8E4M3) return;
    const int64_t block = config_.fp8_block;
    if (block == 0 || info.shape.size() != 2 || entry.shape != info.shape) {
      fail(where_ + ": tensor '" + entry.name + "' is F8_E4M3 without block scales",
           "config.json needs quantization_config with quant_method fp8 for it");
    }
    const std::string scale = entry.name + "_scale_inv";
    if (!take(scale, source.scale)) {
      fail(where_ + " lacks tensor '" + scale + "'", "float8 weights need their block scales");
    }
    const std::vector<int64_t> wanted = {(info.shape[0] + block - 1) / block,
                                         (info.shape[1] + block - 1) / block};
    if (source.scale.entry->shape != wanted) fail_shape(scale, source.scale.entry->shape, wanted);
    if (source.scale.entry->dtype != DType::kF32) {
      fail(where_ + ": tensor '" + scale + "' is stored as " + source.scale.entry->dtype_name,
           "block scales must be F32");
    }
  }
  bool skippable(const std::string& name) const {
    if (ends_with(name, ".rotary_emb.inv_freq")) return true;
    if (config_.tied_embeddings && name == "lm_head.weight") return true;
    for (int i = 0; i < config_.extra_layers; ++i) {
      const std::string layer = "model.layers." + std::to_string(config_.layers + i) + ".";
      if (name.compare(0, layer.size(), layer) == 0) return true;
    }
    return false;
  }

  const PolicyConfig& config_;
  const std::string where_;
  const Stock& stock_;
  std::unordered_set<std::string> used_;
  int64_t missing_ = 0;
  std::string first_missing_;
};

// w = block value * scale_inv: "inverse" of the scale that was used to quantise. `values` are whole
// rows, from `first_row` on.
void apply_block_scales(const Source& source, const ParameterInfo& info, int64_t block,
                        int64_t first_row, std::span<float> values) {
  const int64_t columns = info.shape[1];
  const int64_t rows = static_cast<int64_t>(values.size()) / columns;
  const int64_t across = (columns + block - 1) / block;
  const int64_t scale_row = first_row / block;
  std::vector<float> scales(((first_row + rows - 1) / block - scale_row + 1) * across);
  source.scale.file->read(*source.scale.entry, scale_row * across, scales);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = scales.data() + ((first_row + r) / block - scale_row) * across;
    for (int64_t c = 0; c < columns; ++c) values[r * columns + c] *= row[c / block];
  }
}

}  // namespace

struct Checkpoint::Impl {
  std::string where;
  std::string prefix;  // names without it belong to other modalities
  int64_t fp8_block = 0;
  std::unordered_map<std::string, std::string> other;  // their files
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  Stock stock;
  std::vector<ParameterInfo> infos;
  std::vector<Source> sources;  // one per parameter
  CheckpointReport report;

  void open(const std::filesystem::path& dir) {
    Json weight_map;
    report.files = weight_files(dir, weight_map);
    uint64_t place = 0;
    for (const std::string& name : report.files) {
      const SafetensorsFile& file =
          *files.emplace_back(std::make_unique<SafetensorsFile>(dir / name));
      for (const TensorEntry& entry : file.tensors()) {
        ++report.dtypes[entry.dtype_name];
        place += entry.end - entry.begin + 1;
        if (!entry.name.starts_with(prefix)) {
          report.skipped.push_back(entry.name);
          other[entry.name] = name;
        } else if (!stock.emplace(entry.name.substr(prefix.size()), Stored{&file, &entry, place})
                        .second) {
          fail(where + ": tensor '" + entry.name + "' is in two files", "fetch the files again");
        }
      }
    }
    check_index(weight_map);
  }

  // Every tensor is where the index says.
  void check_index(const Json& weight_map) const {
    for (const auto& [tensor, name] : weight_map.items()) {
      if (!tensor.starts_with(prefix)) {
        const auto found = other.find(tensor);
        if (found != other.end() && found->second == name.get<std::string>()) continue;
      }
      const auto it =
          tensor.starts_with(prefix) ? stock.find(tensor.substr(prefix.size())) : stock.end();
      if (it == stock.end() || it->second.file->path().filename() != name.get<std::string>()) {
        fail(where + ": tensor '" + tensor + "' is not in " + name.get<std::string>() +
                 " as the index says",
             "fetch the files again");
      }
    }
  }
};

Checkpoint::Checkpoint(const std::filesystem::path& dir, const PolicyConfig& config)
    : impl_(std::make_unique<Impl>()) {
  impl_->where = dir.string();
  impl_->prefix = config.prefix;
  impl_->fp8_block = config.fp8_block;
  impl_->open(dir);
  Matcher matcher(config, impl_->where, impl_->stock);
  impl_->infos = make_layout(config).infos;
  for (const ParameterInfo& info : impl_->infos) impl_->sources.push_back(matcher.match(info));
  matcher.finish(impl_->report.skipped);
}

Checkpoint::~Checkpoint() = default;

const CheckpointReport& Checkpoint::report() const { return impl_->report; }

void Checkpoint::read(size_t i, int64_t first, std::span<float> out) const {
  const Source& source = impl_->sources[i];
  const ParameterInfo& info = impl_->infos[i];
  const SafetensorsFile& file = *source.stored.file;
  file.read(*source.stored.entry, source.first + first, out);
  if (source.scale.entry && !out.empty()) {
    apply_block_scales(source, info, impl_->fp8_block, first / info.shape[1], out);
  }
  const size_t bad = first_not_finite(out);
  if (bad == out.size()) return;
  fail(file.path().string() + ": tensor '" + source.stored.entry->name +
           "' has a value that is not finite, at index " +
           std::to_string(source.first + first + static_cast<int64_t>(bad)),
       "the checkpoint is damaged: use an earlier one");
}

uint64_t Checkpoint::place(size_t i) const {
  return impl_->sources[i].stored.place + static_cast<uint64_t>(impl_->sources[i].first);
}

OpenModel open_model(const std::filesystem::path& path) {
  if (is_gguf(path)) return open_gguf(path);
  if (!std::filesystem::is_directory(path)) {
    fail_usage("no model directory at " + path.string(),
               "give a folder with config.json and safetensors weights, or a .gguf file");
  }
  OpenModel model{PolicyConfig::from_file(path / "config.json"), nullptr};
  model.source = std::make_unique<Checkpoint>(path, model.config);
  return model;
}

ModelValues load_values(const std::filesystem::path& path) {
  const OpenModel model = open_model(path);
  ModelValues weights{model.config, Parameters(make_layout(model.config).infos)};
  read_all(*model.source, weights.parameters);
  return weights;
}

namespace {

std::string shard_name(size_t i, size_t n) {
  if (n == 1) return kSingle;
  const auto padded = [](size_t value) {
    const std::string digits = std::to_string(value);
    return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
  };
  return "model-" + padded(i + 1) + "-of-" + padded(n) + ".safetensors";
}

// config.json as it was read, except for what the new files change.
Json saved_config(const PolicyConfig& config, bool bfloat16) {
  Json json = config.source;
  const bool old_style = json.contains("torch_dtype") && !json.contains("dtype");
  json[old_style ? "torch_dtype" : "dtype"] = bfloat16 ? "bfloat16" : "float32";
  json.erase("quantization_config");
  json["model_type"] = to_string(config.family);  // the reader may have known it by architecture
  return json;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const Parameters& parameters, const SaveOptions& options) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  uint64_t shard_bytes = 0, total_bytes = 0;
  for (const ParameterInfo& info : parameters.infos()) {
    // Selection biases decide between nearly equal experts: they keep every bit.
    const bool narrow = options.bfloat16 && !ends_with(info.name, "e_score_correction_bias");
    const TensorToWrite tensor{info.name, info.shape, parameters.view(info), narrow};
    if (shard_bytes > 0 && shard_bytes + tensor.bytes() > options.shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(tensor);
    shard_bytes += tensor.bytes();
    total_bytes += tensor.bytes();
  }
  Json weight_map = Json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    write_safetensors(dir / name, shards[i]);
    for (const TensorToWrite& tensor : shards[i]) weight_map[tensor.name] = name;
  }
  if (shards.size() > 1) {
    const Json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
    write_file_atomic(dir / kIndex, index.dump(2) + "\n");
  } else {
    std::filesystem::remove(dir / kIndex);  // an older one would be read instead
  }
  write_file_atomic(dir / "config.json", saved_config(config, options.bfloat16).dump(2) + "\n");
}

void initialize(const PolicyConfig& config, uint64_t seed, Parameters& parameters) {
  const std::vector<ParameterInfo>& infos = parameters.infos();
  parallel_for(static_cast<int64_t>(infos.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Rng rng(seed, static_cast<uint32_t>(i));
      const bool matrix = infos[i].shape.size() > 1;
      const bool norm = ends_with(infos[i].name, "norm.weight");
      for (float& value : parameters.view(infos[i])) {
        value = matrix ? static_cast<float>(config.initializer_range * rng.normal()) : norm;
      }
    }
  });
}

}  // namespace zeroth
