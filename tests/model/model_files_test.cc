// Folders as they are found: files that contradict each other, other names and types, no weights.
#include <sys/stat.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "core/files.h"
#include "model/formats/checkpoint.h"
#include "model/formats/model_folder.h"
#include "model/formats/safetensors.h"
#include "tests/model/support.h"

using namespace zeroth;
using namespace zeroth::test;
namespace fs = std::filesystem;

namespace {

struct Raw {
  std::string dtype = "F32";
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Raw>;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Tensors tensors_of(const fs::path& path) {
  const SafetensorsFile file(path);
  Tensors out;
  for (const TensorEntry& entry : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(entry.count()));
    file.read(entry, 0, values);
    out[entry.name] = {"F32", entry.shape, bytes_of(values)};
  }
  return out;
}

void write_raw(const fs::path& path, const Tensors& tensors) {
  Json header = Json::object();
  std::string data;
  for (const auto& [name, raw] : tensors) {
    header[name] = {{"dtype", raw.dtype},
                    {"shape", raw.shape},
                    {"data_offsets", {data.size(), data.size() + raw.bytes.size()}}};
    data += raw.bytes;
  }
  header["__metadata__"] = nullptr;  // as some writers have it
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  write_file_atomic(path, file + text + data);
}

std::vector<float> floats(const Raw& raw) {
  std::vector<float> values(raw.bytes.size() / 4);
  std::memcpy(values.data(), raw.bytes.data(), raw.bytes.size());
  return values;
}

// A small Llama with its head in the embedding, whose files a test changes.
struct Model {
  TempDir dir;
  Json config;
  Tensors tensors = tensors_of(fixture("llama") / "model.safetensors");

  Model() : config(read_json_file(fixture("llama") / "config.json")) {
    config["tie_word_embeddings"] = true;
    tensors.erase("lm_head.weight");
  }
  void write() const {
    write_file_atomic(dir.path() / "config.json", config.dump());
    write_raw(dir.path() / "model.safetensors", tensors);
  }
  ModelValues load() const {
    write();
    return load_values(dir.path());
  }
  std::string refusal() const {
    return error_of([&] { load(); });
  }
};

std::vector<float> view(const ModelValues& model, const std::string& name) {
  const auto values = model.parameters.view(model.parameters.info(name));
  return {values.begin(), values.end()};
}

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

}  // namespace

TEST_CASE("tied by the config: an equal head is the embedding, another one is kept and said") {
  Model model;
  const ModelValues tied = model.load();
  CHECK(tied.config.tied_embeddings);
  CHECK(tied.config.notes.empty());

  model.tensors[kHead] = model.tensors[kEmbedding];
  CHECK(model.load().config.tied_embeddings);
  CHECK(model.load().config.notes.empty());

  std::vector<float> other = floats(model.tensors[kEmbedding]);
  other.back() += 1;
  model.tensors[kHead].bytes = bytes_of(other);
  const ModelValues untied = model.load();
  CHECK_FALSE(untied.config.tied_embeddings);
  CHECK(view(untied, kHead) == other);
  CHECK(view(untied, kEmbedding) == floats(model.tensors[kEmbedding]));
  REQUIRE(untied.config.notes.size() == 1);
  CHECK(contains(untied.config.notes[0], "lm_head.weight"));
  // What is saved says so.
  const TempDir saved;
  write_checkpoint(saved.path(), untied.config, untied.parameters, {});
  CHECK(read_json_file(saved.path() / "config.json")["tie_word_embeddings"] == false);
  CHECK(view(load_values(saved.path()), kHead) == other);
}

TEST_CASE("a tied table that is stored under the head's name only is both") {
  Model model;
  const Raw table = model.tensors[kEmbedding];
  model.tensors[kHead] = table;
  model.tensors.erase(kEmbedding);
  const ModelValues loaded = model.load();
  CHECK(loaded.config.tied_embeddings);
  CHECK(view(loaded, kEmbedding) == floats(table));
  CHECK(contains(loaded.config.notes.at(0), "lm_head.weight"));
  model.config["tie_word_embeddings"] = false;
  CHECK(contains(model.refusal(), "embed_tokens"));
}

TEST_CASE("names without model. are completed where the whole model is there") {
  Model model;
  const ModelValues whole = model.load();
  Tensors bare;
  for (auto& [name, raw] : model.tensors) bare[name.substr(std::strlen("model."))] = raw;
  model.tensors = bare;
  const ModelValues loaded = model.load();
  CHECK(same_bits(loaded.parameters.values(), whole.parameters.values()));
  CHECK(contains(loaded.config.notes.at(0), "prefix model."));
  model.config["tie_word_embeddings"] = false;
  CHECK(contains(model.refusal(), "lm_head.weight"));
  CHECK(contains(model.refusal(), "tie_word_embeddings"));
  model.config["architectures"] = {"LlamaModel"};
  CHECK(contains(model.refusal(), "LlamaModel"));
}

TEST_CASE("an old index beside model.safetensors is not read, and that is said") {
  Model model;
  const std::vector<float> now = view(model.load(), kEmbedding);
  Model old;
  old.tensors[kEmbedding].bytes = bytes_of(std::vector<float>(now.size(), 0.5f));
  write_raw(model.dir.path() / "model-00001-of-00001.safetensors", old.tensors);
  Json map = Json::object();
  for (const auto& [name, raw] : old.tensors) map[name] = "model-00001-of-00001.safetensors";
  const fs::path index = model.dir.path() / "model.safetensors.index.json";
  write_file_atomic(index, Json{{"weight_map", map}}.dump());
  const ModelValues loaded = load_values(model.dir.path());
  CHECK(view(loaded, kEmbedding) == now);
  CHECK(contains(loaded.config.notes.at(0), "index.json"));
  // Its shards may be gone, too.
  fs::remove(model.dir.path() / "model-00001-of-00001.safetensors");
  CHECK(view(load_values(model.dir.path()), kEmbedding) == now);
  // Without the single file the index counts.
  fs::remove(model.dir.path() / "model.safetensors");
  CHECK(contains(error_of([&] { load_values(model.dir.path()); }),
                 "model-00001-of-00001.safetensors"));
  write_raw(model.dir.path() / "model-00001-of-00001.safetensors", old.tensors);
  CHECK(view(load_values(model.dir.path()), kEmbedding)[0] == 0.5f);
  // An index may list a tied head that no shard holds.
  map[kHead] = "model-00001-of-00001.safetensors";
  write_file_atomic(index, Json{{"weight_map", map}}.dump());
  CHECK(load_values(model.dir.path()).config.tied_embeddings);
  map["model.norm.weight_2"] = "model-00001-of-00001.safetensors";
  write_file_atomic(index, Json{{"weight_map", map}}.dump());
  CHECK(contains(error_of([&] { load_values(model.dir.path()); }), "model.norm.weight_2"));
}

TEST_CASE("shards that are written over a single file replace it") {
  Model model;
  const ModelValues loaded = model.load();
  write_checkpoint(model.dir.path(), loaded.config, loaded.parameters, {.shard_bytes = 20000});
  CHECK_FALSE(fs::exists(model.dir.path() / "model.safetensors"));
  CHECK(same_bits(load_values(model.dir.path()).parameters.values(), loaded.parameters.values()));
}

TEST_CASE("F64 weights are rounded to float32") {
  Model model;
  const ModelValues narrow = model.load();
  for (auto& [name, raw] : model.tensors) {
    const std::vector<float> values = floats(raw);
    std::vector<double> wide(values.begin(), values.end());
    for (double& x : wide) x *= 1 + 0x1p-40;  // rounds back
    raw.dtype = "F64";
    raw.bytes = bytes_of(wide);
  }
  CHECK(same_bits(model.load().parameters.values(), narrow.parameters.values()));
}

TEST_CASE("float8 blocks: scales in F32, BF16 and F8_E8M0 are the same numbers") {
  constexpr const char* kName = "model.layers.0.mlp.down_proj.weight";
  Model model;
  constexpr int64_t kBlock = 16;
  model.config["quantization_config"] = {{"quant_method", "fp8"},
                                         {"weight_block_size", {kBlock, kBlock}}};
  const std::vector<int64_t> shape = model.tensors[kName].shape;
  const std::vector<int64_t> blocks = {(shape[0] + kBlock - 1) / kBlock,
                                       (shape[1] + kBlock - 1) / kBlock};
  model.tensors[kName] = {"F8_E4M3", shape,
                          std::string(static_cast<size_t>(shape[0] * shape[1]), '\x3a')};  // 1.25
  std::vector<float> scales;
  std::vector<uint16_t> bf16;
  std::vector<uint8_t> e8m0;
  for (int64_t i = 0; i < blocks[0] * blocks[1]; ++i) {
    const int exponent = static_cast<int>(i % 5) - 2;
    scales.push_back(std::ldexp(1.0f, exponent));
    bf16.push_back(to_bfloat16(scales.back()));
    e8m0.push_back(static_cast<uint8_t>(127 + exponent));
  }
  const std::string scale = std::string(kName) + "_scale_inv";
  model.tensors[scale] = {"F32", blocks, bytes_of(scales)};
  const std::vector<float> wanted = view(model.load(), kName);
  CHECK(wanted[0] == 0.3125f);
  CHECK(wanted[kBlock] == 0.625f);
  model.tensors[scale] = {"BF16", blocks, bytes_of(bf16)};
  CHECK(view(model.load(), kName) == wanted);
  model.tensors[scale] = {"F8_E8M0", blocks, bytes_of(e8m0)};
  CHECK(view(model.load(), kName) == wanted);
  e8m0[0] = 255;  // NaN
  model.tensors[scale].bytes = bytes_of(e8m0);
  CHECK(contains(model.refusal(), "not finite"));
  model.tensors[scale] = {"I8", blocks, bytes_of(e8m0)};
  CHECK(contains(model.refusal(), "block scales must be F32, BF16, F16 or F8_E8M0"));
}

TEST_CASE("what is saved names its own class and no Python files") {
  Model model;
  model.config["architectures"] = {"LlamaForSequenceClassification"};
  model.config["auto_map"] = {{"AutoConfig", "configuration_x.XConfig"}};
  const ModelValues loaded = model.load();
  const TempDir saved;
  write_checkpoint(saved.path(), loaded.config, loaded.parameters, {});
  const Json json = read_json_file(saved.path() / "config.json");
  CHECK_FALSE(json.contains("auto_map"));
  CHECK(json["architectures"] == Json::array({"LlamaForCausalLM"}));
}

TEST_CASE("an adapter beside weights is said, not applied") {
  Model model;
  model.write();
  write_file_atomic(model.dir.path() / "adapter_config.json", "{}");
  CHECK(contains(load_values(model.dir.path()).config.notes.at(0), "adapter"));
}

TEST_CASE("a folder without weights that can be read says what it holds and what to do") {
  const auto told = [](const std::vector<std::string>& names, bool config) {
    const TempDir dir;
    if (config) fs::copy_file(fixture("llama") / "config.json", dir.path() / "config.json");
    for (const std::string& name : names) {
      fs::create_directories((dir.path() / name).parent_path());
      write_file_atomic(dir.path() / name, "x");
    }
    return error_of([&] { open_model(dir.path()); });
  };
  CHECK(contains(told({"pytorch_model-00001-of-00002.bin"}, true), "pytorch_model-00001"));
  CHECK(contains(told({"pytorch_model.bin"}, true), "save_pretrained"));
  CHECK(contains(told({"consolidated.00.pth"}, true), "consolidated.00.pth"));
  // Read as an adapter, which this text is not.
  CHECK(contains(told({"adapter_config.json", "adapter_model.safetensors"}, false),
                 "adapter_config.json"));
  CHECK(contains(told({"adapter_config.json", "adapter_model.safetensors"}, true), "adapter"));
  CHECK(contains(told({"snapshots/0123/config.json", "refs/main"}, false), "snapshots/0123"));
  CHECK(contains(told({"model.Q4_K_M.gguf"}, false), "model.Q4_K_M.gguf"));
  CHECK(contains(told({"part.safetensors"}, true), "part.safetensors"));
  CHECK(contains(told({}, true), "model.safetensors"));
  CHECK(contains(told({}, false), "config.json"));
  CHECK(contains(error_of([] { open_model("Qwen/Qwen2.5-0.5B"); }), "download"));
  CHECK(contains(error_of([] { open_model("/no/such/folder"); }), "no model directory"));
  CHECK(contains(error_of([] { open_model(fixture("llama") / "model.safetensors"); }), "folder"));
}

TEST_CASE("a Git LFS pointer is named, a pipe is not waited for") {
  constexpr const char* kPointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123456\n";
  Model model;
  model.write();
  const fs::path weights = model.dir.path() / "model.safetensors";
  write_file_atomic(weights, kPointer);
  CHECK(contains(error_of([&] { open_model(model.dir.path()); }), "git lfs pull"));
  fs::remove(weights);
  REQUIRE(::mkfifo(weights.c_str(), 0600) == 0);
  CHECK(contains(error_of([&] { open_model(model.dir.path()); }), "no regular file"));
  fs::remove(weights);
  write_file_atomic(model.dir.path() / "model.safetensors.index.json", kPointer);
  CHECK(contains(error_of([&] { open_model(model.dir.path()); }), "git lfs pull"));
  write_file_atomic(model.dir.path() / "config.json", kPointer);
  CHECK(contains(error_of([&] { open_model(model.dir.path()); }), "git lfs pull"));
  write_file_atomic(model.dir.path() / "x.gguf", kPointer);
  CHECK(contains(error_of([&] { open_model(model.dir.path() / "x.gguf"); }), "git lfs pull"));
}
