#include "model/formats/peft.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "model/formats/peft_options.h"
#include "model/formats/safetensors.h"
#include "model/layout.h"
#include "model/multimodal.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
constexpr const char* kOwnFile = "zeroth.json";
constexpr std::string_view kPrefix = "base_model.model.";

Json read_config(const fs::path& dir) {
  const fs::path file = dir / kConfig;
  if (!fs::is_regular_file(file)) {
    fail(dir.string() + " holds no adapter: there is no " + kConfig,
         "name a folder that PEFT's save_pretrained or a run with lora.rank has written");
  }
  const Json config = read_json_file(file);
  if (!config.is_object()) fail(file.string() + " is not an object", "fetch the file again");
  return config;
}

double number_of(const Json& config, const char* name, const std::string& where) {
  const auto at = config.find(name);
  if (at == config.end() || !at->is_number() || !(at->get<double>() > 0) ||
      !std::isfinite(at->get<double>())) {
    fail(where + ": " + name + " is no number above 0", "fetch the file again");
  }
  return at->get<double>();
}

struct Tensors {
  const TensorEntry* a = nullptr;
  const TensorEntry* b = nullptr;
};

// The tensors by the name of their layer here.
std::map<std::string, Tensors> by_module(const SafetensorsFile& file, const PolicyConfig& model) {
  std::map<std::string, Tensors> modules;
  for (const TensorEntry& entry : file.tensors()) {
    std::string name = entry.name;
    const auto strip = [&](std::string_view end) {
      if (!name.ends_with(end)) return false;
      name.resize(name.size() - end.size());
      return true;
    };
    const bool in_model = name.starts_with(kPrefix);
    const bool a = in_model && (strip(".lora_A.weight") || strip(".lora_A.default.weight"));
    const bool b = in_model && !a && (strip(".lora_B.weight") || strip(".lora_B.default.weight"));
    if (!a && !b) {
      const bool base = entry.name.ends_with(".base_layer.weight");
      fail(file.path().string() + ": tensor '" + entry.name.substr(0, 200) +
               "' is no lora_A or lora_B of a linear layer",
           base
               ? "it is a part of the base: save the adapter again with save_embedding_layers=False"
               : kRefitAdapter);
    }
    if (entry.shape.size() != 2 || entry.count() == 0)
      fail(file.path().string() + ": tensor '" + entry.name + "' is no matrix",
           "fetch the file again");
    Tensors& tensors = modules[own_name(model.names, name.substr(kPrefix.size()))];
    (a ? tensors.a : tensors.b) = &entry;
  }
  return modules;
}

// Gates first here.
int64_t row_in_file(const LoraPair& pair, int64_t row) {
  if (pair.parameter != kInterleavedGateUp) return row;
  const int64_t width = pair.matrix.out / 2;
  return row < width ? 2 * row : 2 * (row - width) + 1;
}

// The number of the layer that a name belongs to, or -1.
int layer_of(const std::string& module) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!module.starts_with(kLayers)) return -1;
  int layer = -1;
  const char* end = module.data() + module.size();
  const auto [stop, error] = std::from_chars(module.data() + kLayers.size(), end, layer);
  return error == std::errc() && stop != end && *stop == '.' ? layer : -1;
}

class Reader {
 public:
  Reader(const fs::path& dir, const PolicyConfig& model)
      : config_(read_config(dir)),
        file_(weights_of(dir)),
        model_(model),
        layout_(make_layout(model)),
        pattern_(config_, (dir / kConfig).string()) {
    const std::string where = (dir / kConfig).string();
    refuse_other_adapters(config_, where);
    alpha_ = number_of(config_, "lora_alpha", where);
    root_ = says(config_, "use_rslora");
  }

  std::unique_ptr<LoraAdapter> read() {
    const auto modules = by_module(file_, model_);
    if (modules.empty()) fail(file_.path().string() + " holds no tensor", "fetch the file again");
    for (const auto& [module, tensors] : modules) {
      if (tensors.a == nullptr || tensors.b == nullptr) {
        fail(file_.path().string() + ": " + module + " has no " +
                 (tensors.a == nullptr ? "lora_A" : "lora_B"),
             "fetch the file again");
      }
      if (!place_matrix(module, tensors) && !place_experts(module, tensors)) {
        fail(file_.path().string() + ": the model has no linear layer " + module.substr(0, 200) +
                 " of " + shape(tensors),
             module == "lm_head" && model_.tied_embeddings
                 ? "the head of this model is its embedding, which an adapter cannot change alone: "
                   "merge it with PEFT into an untied model"
                 : "the adapter belongs to another model");
      }
    }
    auto adapter = std::make_unique<LoraAdapter>(pairs_, alpha_);
    for (const LoraPair& pair : adapter->pairs()) fill(*adapter, pair, modules);
    return adapter;
  }

 private:
  static fs::path weights_of(const fs::path& dir) {
    if (!fs::exists(dir / kWeights) && fs::exists(dir / "adapter_model.bin")) {
      fail((dir / "adapter_model.bin").string() + " is a pickled file, which is not read",
           std::string("save the adapter again with PEFT, as ") + kWeights);
    }
    return dir / kWeights;
  }
  static std::string shape(const Tensors& t) {
    const auto one = [](const TensorEntry& e) {
      return "[" + std::to_string(e.shape[0]) + ", " + std::to_string(e.shape[1]) + "]";
    };
    return "lora_A " + one(*t.a) + " and lora_B " + one(*t.b);
  }

  // False when the matrix is not one of this rank.
  bool add(const std::string& module, const Matrix& matrix, int64_t rank,
           const std::string& parameter = "", int expert = -1) {
    if (rank < 1 || rank > kMaxRank) return false;
    LoraPair pair;
    pair.module = module;
    pair.matrix = matrix;
    pair.rank = static_cast<int>(rank);
    const auto divisor = static_cast<double>(rank);
    pair.scale =
        pattern_(pattern_name(module, parameter), alpha_) / (root_ ? std::sqrt(divisor) : divisor);
    pair.parameter = parameter;
    pair.expert = expert;
    pairs_.push_back(std::move(pair));
    return true;
  }

  // A tensor of the model, or several that it keeps on top of each other.
  Matrix find_matrix(const std::string& module) const {
    for (const ParameterInfo& info : layout_.infos) {
      if (info.name == module + ".weight" && info.shape.size() == 2 &&
          info.role != Role::kEmbedding) {
        return {info.offset, -1, static_cast<int>(info.shape[0]), static_cast<int>(info.shape[1])};
      }
    }
    const int layer = layer_of(module);
    if (layer < 0 || layer >= static_cast<int>(layout_.layers.size())) return {};
    const std::string start = "model.layers." + std::to_string(layer) + ".";
    if (module == start + "self_attn.qkv_proj") return layout_.layers[layer].qkv;
    if (module == start + "mlp.gate_up_proj") return layout_.layers[layer].mlp.gate_up;
    return {};
  }

  bool place_matrix(const std::string& module, const Tensors& t) {
    const Matrix matrix = find_matrix(module);
    if (!matrix.present() || t.a->shape[1] != matrix.in || t.b->shape[0] != matrix.out ||
        t.a->shape[0] != t.b->shape[1]) {
      return false;
    }
    return add(module, matrix, t.a->shape[0]);
  }

  bool place_experts(const std::string& module, const Tensors& t) {
    const int layer = layer_of(module);
    if (layer < 0 || layer >= static_cast<int>(layout_.layers.size())) return false;
    if (!module.ends_with(".experts") && !module.ends_with(".experts.base_layer")) return false;
    const std::vector<GatedMlp>& experts = layout_.layers[layer].experts;
    const auto count = static_cast<int64_t>(experts.size());
    if (count == 0 || t.a->shape[0] != t.b->shape[1] || t.a->shape[0] % count != 0) return false;
    const auto fits = [&](const Matrix& m) {
      return t.a->shape[1] == m.in && t.b->shape[0] == m.out;
    };
    const bool gate_up = fits(experts[0].gate_up);
    if (!gate_up && !fits(experts[0].down)) return false;
    const bool interleaved = names_of(model_.family).tensors.stacked_experts;
    const char* const parameter = !gate_up ? kDown : interleaved ? kInterleavedGateUp : kGateUp;
    for (size_t e = 0; e < experts.size(); ++e) {
      if (!add(module, gate_up ? experts[e].gate_up : experts[e].down, t.a->shape[0] / count,
               parameter, static_cast<int>(e))) {
        return false;
      }
    }
    return true;
  }

  std::vector<float> values(const TensorEntry& entry) const {
    std::vector<float> out(static_cast<size_t>(entry.count()));
    if (entry.dtype == DType::kOther || entry.dtype == DType::kF8E4M3 ||
        entry.dtype == DType::kF8E8M0) {
      fail(file_.path().string() + ": tensor '" + entry.name + "' is stored as " + entry.dtype_name,
           "adapters must be F32, F64, F16 or BF16");
    }
    file_.read(entry, 0, out);
    if (first_not_finite(out) != out.size())
      fail(file_.path().string() + ": tensor '" + entry.name + "' has a value that is not finite",
           "the adapter is damaged: use an earlier one");
    return out;
  }

  void fill(LoraAdapter& adapter, const LoraPair& pair,
            const std::map<std::string, Tensors>& modules) const {
    const Tensors& tensors = modules.at(pair.module);
    const std::vector<float> a = values(*tensors.a), b = values(*tensors.b);
    const std::span<float> to_a = adapter.a(pair), to_b = adapter.b(pair);
    if (pair.expert < 0) {
      std::copy(a.begin(), a.end(), to_a.begin());
      std::copy(b.begin(), b.end(), to_b.begin());
      return;
    }
    std::copy_n(a.begin() + static_cast<std::ptrdiff_t>(to_a.size()) * pair.expert, to_a.size(),
                to_a.begin());
    const int64_t columns = tensors.b->shape[1], experts = columns / pair.rank;
    for (int64_t row = 0; row < pair.matrix.out; ++row) {
      const int64_t from = row_in_file(pair, row);
      for (int k = 0; k < pair.rank; ++k)
        to_b[row * pair.rank + k] = b[from * columns + k * experts + pair.expert];
    }
  }

  static constexpr int64_t kMaxRank = 1 << 16;

  const Json config_;
  const SafetensorsFile file_;
  const PolicyConfig& model_;
  const Layout layout_;
  const AlphaPattern pattern_;
  double alpha_ = 0;
  bool root_ = false;
  std::vector<LoraPair> pairs_;
};

// Values of both tensors of a module.
struct Written {
  std::vector<int64_t> a_shape, b_shape;
  std::vector<float> a, b;
};

// The pairs of a module are one, or all experts of a layer.
Written joined(const LoraAdapter& adapter, const std::vector<const LoraPair*>& pairs) {
  Written out;
  const LoraPair& first = *pairs.front();
  const auto experts = static_cast<int64_t>(pairs.size());
  const int64_t columns = first.rank * experts;
  out.a_shape = {columns, first.matrix.in};
  out.b_shape = {first.matrix.out, columns};
  out.b.resize(static_cast<size_t>(first.matrix.out * columns));
  for (const LoraPair* pair : pairs) {
    const std::span<const float> a = adapter.a(*pair), b = adapter.b(*pair);
    out.a.insert(out.a.end(), a.begin(), a.end());
    const int64_t e = std::max(pair->expert, 0);
    for (int64_t row = 0; row < first.matrix.out; ++row) {
      const int64_t to = row_in_file(*pair, row);
      for (int k = 0; k < first.rank; ++k)
        out.b[to * columns + k * experts + e] = b[row * first.rank + k];
    }
  }
  return out;
}

class AdaptedSource : public WeightSource {
 public:
  AdaptedSource(OpenModel& base, std::unique_ptr<LoraAdapter> adapter)
      : base_(std::move(base.source)),
        adapter_(std::move(adapter)),
        infos_(make_layout(base.config).infos) {}

  void read(size_t i, int64_t first, std::span<float> out) const override {
    base_->read(i, first, out);
    const int64_t offset = infos_[i].offset + first;
    if (const LoraPair* pair = adapter_->find(offset))
      adapter_->add_rows(*pair, (offset - pair->matrix.weight) / pair->matrix.in, out);
  }
  uint64_t place(size_t i) const override { return base_->place(i); }

 private:
  std::unique_ptr<WeightSource> base_;
  std::unique_ptr<LoraAdapter> adapter_;
  std::vector<ParameterInfo> infos_;
};

}  // namespace

bool is_adapter(const fs::path& path) {
  return fs::is_regular_file(path / kConfig) && !fs::exists(path / "config.json");
}

fs::path adapter_base(const fs::path& dir) {
  const Json config = read_config(dir);
  const auto name = config.find("base_model_name_or_path");
  if (name == config.end() || !name->is_string()) {
    fail((dir / kConfig).string() + " names no base_model_name_or_path",
         "give the base model, and the adapter with --adapter");
  }
  const fs::path base = name->get<std::string>();
  for (const fs::path& path : {dir / base, base}) {
    if (fs::exists(path) && !is_adapter(path)) return path;
  }
  fail((dir / kConfig).string() + ": the base model " + base.string() + " is not there",
       "give its folder as the model, and the adapter with --adapter");
}

BaseBits adapter_bits(const fs::path& dir) {
  if (!fs::exists(dir / kOwnFile)) return BaseBits::kFloat32;
  const Json facts = read_json_file(dir / kOwnFile);
  if (!facts.is_object() || !facts.contains("base") || !facts["base"].is_string()) {
    fail((dir / kOwnFile).string() + " names no \"base\"",
         "bring the file back; without it the adapter counts as one over a base in float32");
  }
  return base_bits_named(facts["base"].get<std::string>());
}

std::unique_ptr<LoraAdapter> read_adapter(const fs::path& dir, const PolicyConfig& model) {
  return Reader(dir, model).read();
}

void write_adapter(const fs::path& dir, const LoraAdapter& adapter, const std::string& base,
                   BaseBits bits) {
  std::map<std::string, std::vector<const LoraPair*>> modules;
  for (const LoraPair& pair : adapter.pairs()) modules[pair.module].push_back(&pair);
  for (auto& [module, pairs] : modules) {
    std::sort(pairs.begin(), pairs.end(),
              [](const LoraPair* x, const LoraPair* y) { return x->expert < y->expert; });
  }
  std::vector<Written> values;
  for (const auto& [module, pairs] : modules) values.push_back(joined(adapter, pairs));
  std::vector<TensorToWrite> tensors;
  size_t next = 0;
  for (const auto& [module, pairs] : modules) {
    const Written& of = values[next++];
    const std::string name = std::string(kPrefix) + module;
    tensors.push_back({name + ".lora_A.weight", of.a_shape, of.a});
    tensors.push_back({name + ".lora_B.weight", of.b_shape, of.b});
  }
  write_safetensors(dir / kWeights, tensors);
  Json config = {{"peft_type", "LORA"},
                 {"task_type", "CAUSAL_LM"},
                 {"lora_alpha", adapter.alpha()},
                 {"lora_dropout", 0.0},
                 {"bias", "none"},
                 {"fan_in_fan_out", false},
                 {"inference_mode", true},
                 {"init_lora_weights", true},
                 {"modules_to_save", Json()},
                 {"base_model_name_or_path", base}};
  name_adapted(adapter, config);
  FileWriter writer(dir / kConfig);
  writer.write(config.dump(2) + "\n");
  writer.close();
  if (bits == BaseBits::kFloat32) return;
  const Json facts = {{"base", std::string(name_of(bits))}};
  write_file_atomic(dir / kOwnFile, facts.dump() + "\n");
}

OpenModel adapted(OpenModel model, std::unique_ptr<LoraAdapter> adapter) {
  model.source = std::make_unique<AdaptedSource>(model, std::move(adapter));
  return model;
}

}  // namespace zeroth
