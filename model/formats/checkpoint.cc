#include "model/formats/checkpoint.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "model/formats/model_folder.h"
#include "model/formats/peft.h"
#include "model/formats/safetensors.h"
#include "model/formats/stacked_experts.h"
#include "model/image_codes.h"
#include "model/layout.h"
#include "model/multimodal.h"

namespace zeroth {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

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
  Stored scale;       // float8 and MXFP4 only
  // Of a stacked tensor (model/formats/stacked_experts.h).
  enum class Form { kRun, kStacked, kMxfp4, kInterleaved } form = Form::kRun;
  StackedExpert expert;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// A tensor's name, which comes from the file: short and printable.
std::string shown(const std::string& name) {
  std::string text = Json(name.substr(0, 200)).dump(-1, ' ', true, Json::error_handler_t::replace);
  text.front() = text.back() = '\'';
  return text + (name.size() > 200 ? ".." : "");
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
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
  Matcher(const PolicyConfig& config, const std::string& where, const Stock& stock, bool bare_names)
      : config_(config), where_(where), stock_(stock), bare_names_(bare_names) {}

  Source match(const ParameterInfo& info) {
    Source source;
    if (take(info.name, source.stored) || take(short_router_name(info.name), source.stored)) {
      if (source.stored.entry->shape != info.shape) {
        fail_shape(source.stored.entry->name, source.stored.entry->shape, info.shape);
      }
      if (stacked_ && info.role == Role::kBias && info.shape.size() == 2 &&
          info.shape[1] == 2 * int64_t{config_.expert_width} &&
          info.name.ends_with("gate_up_proj_bias")) {
        source.form = Source::Form::kInterleaved;
      }
    } else if (stacked_ ? !match_stacked(info, source) : !match_fused(info, source)) {
      ++missing_;
      if (first_missing_.empty()) first_missing_ = info.name;
      return source;
    }
    if (source.form != Source::Form::kMxfp4) check_type(info, source);
    return source;
  }

  void finish(std::vector<std::string>& skipped) const {
    if (missing_ > 0) {
      fail(where_ + " lacks tensor " + shown(first_missing_) +
               (missing_ > 1 ? " and " + std::to_string(missing_ - 1) + " more" : "") +
               (bare_names_ ? " (its names lack the prefix model., which was put in front)" : ""),
           missing_fix());
    }
    std::vector<std::string> unused;
    for (const auto& [name, stored] : stock_) {
      if (used_.count(name)) continue;
      // Parts of no width, as transformers has shared experts where there are none of them.
      const auto& shape = stored.entry->shape;
      const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
      (empty || skippable(name) ? skipped : unused).push_back(name);
    }
    std::sort(skipped.begin(), skipped.end());
    std::sort(unused.begin(), unused.end());
    if (!unused.empty()) {
      fail(where_ + " has the unexpected tensor " + shown(unused.front()) +
               (unused.size() > 1 ? " and " + std::to_string(unused.size() - 1) + " more" : ""),
           "the weights do not belong to this config.json");
    }
  }

 private:
  [[noreturn]] void fail_shape(const std::string& name, const std::vector<int64_t>& found,
                               const std::vector<int64_t>& wanted) const {
    fail(where_ + ": tensor " + shown(name) + " has shape " + shape_text(found) +
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
  bool match_stacked(const ParameterInfo& info, Source& source) {
    StackedExpert& of = source.expert;
    if (!stacked_name(info.name, of)) return false;
    const int64_t experts = config_.router.experts, rows = of.parts * info.shape[0];
    if (take(of.name, source.stored)) {
      source.form = Source::Form::kStacked;
      const std::vector<int64_t> wanted = {experts, info.shape[1], rows};
      if (source.stored.entry->shape != wanted) {
        fail_shape(of.name, source.stored.entry->shape, wanted);
      }
      return true;
    }
    if (!config_.mxfp4 || !take(of.name + "_blocks", source.stored)) return false;
    source.form = Source::Form::kMxfp4;
    if (!take(of.name + "_scales", source.scale)) {
      fail(where_ + " lacks tensor " + shown(of.name + "_scales"),
           "MXFP4 blocks need their scales");
    }
    const std::vector<int64_t> scales = {experts, rows, info.shape[1] / kMxfp4Block};
    std::vector<int64_t> blocks = scales;
    blocks.push_back(kMxfp4Block / 2);
    if (info.shape[1] % kMxfp4Block != 0 || source.stored.entry->shape != blocks) {
      fail_shape(of.name + "_blocks", source.stored.entry->shape, blocks);
    }
    if (source.scale.entry->shape != scales) {
      fail_shape(of.name + "_scales", source.scale.entry->shape, scales);
    }
    for (const Stored* part : {&source.stored, &source.scale}) {
      if (part->entry->dtype_name == "U8") continue;
      fail(where_ + ": tensor " + shown(part->entry->name) + " is stored as " +
               part->entry->dtype_name,
           "MXFP4 blocks and scales must be U8");
    }
    return true;
  }
  void check_type(const ParameterInfo& info, Source& source) {
    const TensorEntry& entry = *source.stored.entry;
    if (entry.dtype == DType::kOther || entry.dtype == DType::kF8E8M0) {
      fail(where_ + ": tensor " + shown(entry.name) + " is stored as " + entry.dtype_name,
           "weights must be F32, F64, F16, BF16 or F8_E4M3");
    }
    if (entry.dtype != DType::kF8E4M3) return;
    const int64_t block = config_.fp8_block;
    if (block == 0 || info.shape.size() != 2 || entry.shape != info.shape) {
      fail(where_ + ": tensor " + shown(entry.name) + " is F8_E4M3 without block scales",
           "config.json needs quantization_config with quant_method fp8 for it");
    }
    const std::string scale = entry.name + "_scale_inv";
    if (!take(scale, source.scale)) {
      fail(where_ + " lacks tensor " + shown(scale), "float8 weights need their block scales");
    }
    const std::vector<int64_t> wanted = {(info.shape[0] + block - 1) / block,
                                         (info.shape[1] + block - 1) / block};
    if (source.scale.entry->shape != wanted) fail_shape(scale, source.scale.entry->shape, wanted);
    const DType type = source.scale.entry->dtype;
    if (type != DType::kF32 && type != DType::kBf16 && type != DType::kF16 &&
        type != DType::kF8E8M0) {
      fail(where_ + ": tensor " + shown(scale) + " is stored as " + source.scale.entry->dtype_name,
           "block scales must be F32, BF16, F16 or F8_E8M0");
    }
  }
  std::string missing_fix() const {
    const Json classes = config_.source.value("architectures", Json::array());
    const std::string name = classes.is_array() && !classes.empty() && classes[0].is_string()
                                 ? classes[0].get<std::string>()
                                 : "";
    if (asks_for_image_codes(config_.source)) {
      return "config.json has \"image_generation\": without it the text model alone is read";
    }
    if (!name.empty() && name != names_of(config_.family).architecture) {
      return "config.json names " + shown(name) +
             ", which is no model with a language head: take the checkpoint of one";
    }
    if (missing_ == 1 && first_missing_ == kHead) {
      return "where the head is the embedding, set tie_word_embeddings to true in config.json; "
             "else a file is missing";
    }
    return "the weights do not belong to this config.json, or a file is missing";
  }
  // Multi-token prediction layers stand behind the others, whether the config counts them or not.
  bool is_extra_layer(int layer) const {
    if (layer < config_.layers + config_.extra_layers) return true;
    for (int l = config_.layers; l <= layer; ++l) {
      if (!stock_.contains("model.layers." + std::to_string(l) + ".eh_proj.weight")) return false;
    }
    return true;
  }
  bool skippable(const std::string& name) const {
    if (ends_with(name, ".rotary_emb.inv_freq")) return true;
    if (config_.tied_embeddings && name == kHead) return true;
    if (config_.delta_net && name.starts_with("mtp.")) return true;  // multi-token prediction
    constexpr const char* kLayers = "model.layers.";
    if (!facts_of(config_.family).extra_layers || !name.starts_with(kLayers)) return false;
    const int layer = std::atoi(name.c_str() + std::strlen(kLayers));
    return layer >= config_.layers && is_extra_layer(layer);
  }

  const PolicyConfig& config_;
  const bool stacked_ = names_of(config_.family).tensors.stacked_experts;
  const std::string where_;
  const Stock& stock_;
  const bool bare_names_;
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
  PolicyConfig config;
  std::unordered_map<std::string, std::string> other;  // files of other modalities' tensors
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  Stock stock;
  bool bare_names = false;
  std::vector<ParameterInfo> infos;
  std::vector<Source> sources;  // one per parameter
  CheckpointReport report;

  void open(const std::filesystem::path& dir) {
    const WeightFiles found = find_weight_files(dir, config.notes);
    report.files = found.files;
    uint64_t place = 0;
    for (const std::string& name : report.files) {
      const SafetensorsFile& file =
          *files.emplace_back(std::make_unique<SafetensorsFile>(dir / name));
      for (const TensorEntry& entry : file.tensors()) {
        ++report.dtypes[entry.dtype_name];
        place += entry.end - entry.begin + 1;
        const std::optional<std::string> own = text_name(config.names, entry.name);
        if (!own) {
          report.skipped.push_back(entry.name);
          other[entry.name] = name;
        } else if (!stock.emplace(*own, Stored{&file, &entry, place}).second) {
          fail(where + ": tensor " + shown(entry.name) + " is in two files",
               "fetch the files again");
        }
      }
    }
    check_index(found.weight_map);
    complete_names();
    settle_head();
  }

  // Every tensor is where the index says. Of tied tables an index may list what no file holds.
  void check_index(const std::vector<std::pair<std::string, std::string>>& weight_map) const {
    for (const auto& [tensor, name] : weight_map) {
      const auto elsewhere = other.find(tensor);
      if (elsewhere != other.end() && elsewhere->second == name) continue;
      const std::string own = text_name(config.names, tensor).value_or("");
      const auto it = stock.find(own);
      if (it == stock.end() && config.tied_embeddings && (own == kHead || own == kEmbedding)) {
        continue;
      }
      if (it == stock.end() || it->second.file->path().filename() != name) {
        fail(where + ": tensor " + shown(tensor) + " is not in " + name + " as the index says",
             "fetch the files again");
      }
    }
  }

  // A model that was saved without its head has names without "model.".
  void complete_names() {
    constexpr const char* kPrefix = "model.";
    for (const auto& [name, stored] : stock) {
      if (name.starts_with(kPrefix)) return;
    }
    if (!stock.contains("embed_tokens.weight")) return;
    Stock named;
    for (const auto& [name, stored] : stock) {
      named.emplace(name == kHead ? name : kPrefix + name, stored);
    }
    stock = std::move(named);
    bare_names = true;
    config.notes.push_back("the tensors' names lack the prefix model., which was put in front");
  }

  // Tied by the config: one stored table serves as both, and two that differ are two.
  void settle_head() {
    if (!config.tied_embeddings) return;
    const auto head = stock.find(kHead);
    const auto embedding = stock.find(kEmbedding);
    if (head == stock.end()) return;
    if (embedding == stock.end()) {
      stock.emplace(kEmbedding, head->second);
      stock.erase(kHead);
      config.notes.push_back("only lm_head.weight is stored; the embedding is tied to it");
    } else if (!equal(head->second, embedding->second)) {
      config.tied_embeddings = false;
      text_source(config)["tie_word_embeddings"] = false;
      config.notes.push_back(
          "tie_word_embeddings is true, and the file holds another lm_head.weight than the "
          "embedding: the head is kept, as transformers 5 and vLLM do");
    }
  }

  static bool equal(const Stored& a, const Stored& b) {
    if (a.entry->shape != b.entry->shape) return false;
    const bool numbers = a.entry->dtype != DType::kOther && b.entry->dtype != DType::kOther;
    if (!numbers) return true;  // refused later, with its name
    constexpr int64_t kPart = 1 << 20;
    std::vector<float> x, y;
    for (int64_t first = 0; first < a.entry->count(); first += kPart) {
      x.resize(static_cast<size_t>(std::min(kPart, a.entry->count() - first)));
      y.resize(x.size());
      a.file->read(*a.entry, first, x);
      b.file->read(*b.entry, first, y);
      if (std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) != 0) return false;
    }
    return true;
  }
};

Checkpoint::Checkpoint(const std::filesystem::path& dir, PolicyConfig config)
    : impl_(std::make_unique<Impl>()) {
  impl_->where = dir.string();
  impl_->config = std::move(config);
  impl_->open(dir);
  Matcher matcher(impl_->config, impl_->where, impl_->stock, impl_->bare_names);
  impl_->infos = make_layout(impl_->config).infos;
  for (const ParameterInfo& info : impl_->infos) impl_->sources.push_back(matcher.match(info));
  matcher.finish(impl_->report.skipped);
}

const PolicyConfig& Checkpoint::config() const { return impl_->config; }

Checkpoint::~Checkpoint() = default;

const CheckpointReport& Checkpoint::report() const { return impl_->report; }

void Checkpoint::read(size_t i, int64_t first, std::span<float> out) const {
  const Source& source = impl_->sources[i];
  const ParameterInfo& info = impl_->infos[i];
  const SafetensorsFile& file = *source.stored.file;
  const TensorEntry& entry = *source.stored.entry;
  switch (source.form) {
    case Source::Form::kRun:
      file.read(entry, source.first + first, out);
      break;
    case Source::Form::kStacked:
      read_stacked(file, entry, source.expert, info, first, out);
      break;
    case Source::Form::kInterleaved:
      read_interleaved(file, entry, info, first, out);
      break;
    case Source::Form::kMxfp4:
      read_mxfp4({&file, &entry}, {source.scale.file, source.scale.entry}, source.expert, info,
                 first, out);
      break;
  }
  const bool float8 = entry.dtype == DType::kF8E4M3;
  if (float8 && source.scale.entry && !out.empty()) {
    apply_block_scales(source, info, impl_->config.fp8_block, first / info.shape[1], out);
  }
  const size_t bad = first_not_finite(out);
  if (bad == out.size()) return;
  fail(file.path().string() + ": tensor " + shown(source.stored.entry->name) +
           " has a value that is not finite, at index " +
           std::to_string(source.first + first + static_cast<int64_t>(bad)),
       "the checkpoint is damaged: use an earlier one");
}

uint64_t Checkpoint::place(size_t i) const {
  return impl_->sources[i].stored.place + static_cast<uint64_t>(impl_->sources[i].first);
}

OpenModel open_model(const std::filesystem::path& path, const std::filesystem::path& adapter) {
  for (const std::filesystem::path& dir : {adapter, path}) {
    if (dir.empty() || (dir == path && !is_adapter(path))) continue;
    OpenModel model = open_model(dir == path ? adapter_base(path) : path);
    auto values = read_adapter(dir, model.config);
    return adapted(rounded(std::move(model), adapter_bits(dir)), std::move(values));
  }
  check_model_path(path);
  if (is_gguf(path)) return open_gguf(path);
  auto checkpoint =
      std::make_unique<Checkpoint>(path, PolicyConfig::from_file(path / "config.json"));
  OpenModel model{checkpoint->config(), nullptr};
  model.source = std::move(checkpoint);
  return model;
}

ModelValues load_values(const std::filesystem::path& path, const std::filesystem::path& adapter) {
  const OpenModel model = open_model(path, adapter);
  ModelValues weights{model.config, Parameters(make_layout(model.config).infos)};
  read_all(*model.source, weights.parameters);
  return weights;
}

}  // namespace zeroth
