// `zeroth describe`: what a checkpoint is, and what training it would cost on this machine.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/terminal.h"
#include "kernels/limits.h"
#include "model/config.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_model.h"
#include "model/formats/model_folder.h"
#include "model/formats/peft.h"
#include "model/formats/provenance.h"
#include "model/image_codes.h"
#include "policy/layer_state.h"
#include "policy/publish_config.h"
#include "rl/chat.h"
#include "rollout/roofline.h"
#include "text/tokenizer.h"

namespace zeroth {
namespace {

struct DescribeOptions {
  int prompts = 16;
  int samples = 16;
  int prompt_tokens = 128;
  int tokens = 256;
  int batch = 256;
  PublishConfig publish;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("prompts", prompts, "of the GRPO step that is priced: problems", Range{1, 65536});
    v("samples", samples, "completions of each", Range{1, 65536});
    v("prompt_tokens", prompt_tokens, "tokens of a problem", Range{1, 1 << 20});
    v("tokens", tokens, "tokens of a completion", Range{1, 1 << 20});
    v("batch", batch, "completions decoded together", Range{1, 65536});
    publish.fields(v);
    v("json", json, "print one JSON object");
  }
};

std::string attention_text(const PolicyConfig& c) {
  std::string text = std::to_string(c.heads) + " heads";
  if (c.is_latent()) {
    text = std::string(c.absorbed() ? "latent, absorbed, " : "latent, ") + text + ", rank " +
           std::to_string(c.latent.kv_rank);
  } else {
    text += " of " + std::to_string(c.head_dim) + ", " + std::to_string(c.kv_heads) +
            " key/value heads";
  }
  if (c.chunk_len > 0) text += ", in dual chunks of " + std::to_string(c.chunk_len);
  const auto layers = [&c](auto count) {
    return " in " + std::to_string(count) + " of " + std::to_string(c.layers) + " layers";
  };
  const auto windowed =
      std::count_if(c.window.begin(), c.window.end(), [](int w) { return w > 0; });
  if (windowed > 0) {
    text += ", a window of " + std::to_string(*std::max_element(c.window.begin(), c.window.end())) +
            layers(windowed);
  }
  if (!c.is_latent() && c.rope_dim() < c.head_dim) {
    text += ", " + std::to_string(c.rope_dim()) + " values of a head rotated";
  }
  const auto unrotated = std::count(c.rotated.begin(), c.rotated.end(), 0);
  if (unrotated > 0) text += ", none rotated" + layers(unrotated);
  if (c.sinks) text += ", attention sinks";
  if (c.attention_gate) text += ", gated";
  if (c.recurrent_layers() > 0) {
    const kernels::DeltaShape& d = c.delta;
    text += "; gated delta nets of " + std::to_string(d.value_heads) + " heads of " +
            std::to_string(d.key_dim) + " x " + std::to_string(d.value_dim) + " over " +
            std::to_string(d.key_heads) + " keys" + layers(c.recurrent_layers());
  }
  return text;
}

std::string expert_text(const PolicyConfig& c) {
  if (!c.is_moe()) return "none";
  std::string text = std::to_string(c.router.experts) + " of width " +
                     std::to_string(c.expert_width) + ", " + std::to_string(c.router.top_k) +
                     " chosen, in " + std::to_string(c.moe_layers()) + " of " +
                     std::to_string(c.layers) + " layers";
  if (c.shared_width > 0) text += ", shared width " + std::to_string(c.shared_width);
  return text;
}

// The first of the files that a tokenizer is read from.
std::string tokenizer_file(const std::filesystem::path& path) {
  if (is_gguf(path)) return "embedded";
  for (const char* name :
       {"tokenizer.json", "vocab.json", "tokenizer.model", "tiktoken.model", "tekken.json"}) {
    if (std::filesystem::exists(path / name)) return name;
  }
  return "";
}

// Whether the checkpoint's own chat template can be run.
std::string chat_template_state(const Tokenizer& tokenizer) {
  if (tokenizer.chat_template().empty()) return "none";
  try {
    with_chat_template(std::string("chat"), tokenizer, "");
    return "runs";
  } catch (const Error& error) {
    return error.what();
  }
}

void describe_tokenizer(const std::filesystem::path& path, Json& out) {
  out["tokenizer"] = tokenizer_file(path);
  if (out["tokenizer"] == "") return;
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(path);
  out["tokens"] = tokenizer->vocab_size();
  out["end_tokens"] = tokenizer->eos_ids();
  out["begin_tokens"] = tokenizer->special().front;
  out["chat_template"] = chat_template_state(*tokenizer);
  for (const std::string& note : tokenizer->special().notes) out["notes"].push_back(note);
}

// The config with what the weights decide, and what the files hold.
PolicyConfig described_config(const std::filesystem::path& path, Json& files) {
  check_model_path(path);
  Json types = Json::object();
  if (is_gguf(path)) {
    const GgufFile file(path);
    for (const auto& [name, tensor] : file.contents().tensors) {
      const std::string key = "ggml type " + std::to_string(static_cast<uint32_t>(tensor.type));
      types[key] = types.value(key, 0) + 1;
    }
    files = {{"files", {path.filename().string()}},
             {"stored_types", types},
             {"skipped_tensors", Json::array()}};
    return PolicyConfig::from_json(gguf_config(file), path.string());
  }
  const Checkpoint checkpoint(path, PolicyConfig::from_file(path / "config.json"));
  for (const auto& [name, count] : checkpoint.report().dtypes) types[name] = count;
  files = {{"files", checkpoint.report().files},
           {"stored_types", types},
           {"skipped_tensors", checkpoint.report().skipped}};
  return checkpoint.config();
}

// Bytes that a row keeps for backward: what every layer read and left, and the last one's output.
double activation_bytes(const PolicyConfig& c) {
  double bytes = 4.0 * (c.layers + 1) * c.width;
  for (int l = 0; l < c.layers; ++l) {
    bytes += static_cast<double>(LayerState::row_bytes(LayerWidths(c, l)));
  }
  return bytes;
}

// What the machine does at most decides: seconds are a floor, real steps take about twice that.
Json step_cost(const PolicyConfig& c, const DescribeOptions& o) {
  const Roofline roofline(c, o.publish.bytes());
  const kernels::Limits limits = kernels::measure_limits();
  const MachineLimits machine{limits.gflops * 1e9, limits.read_gbs * 1e9};
  const double prompt_rows = double{1} * o.prompts * o.prompt_tokens;
  const double completions = double{1} * o.prompts * o.samples;
  const double rows = completions * o.tokens, context = o.prompt_tokens + o.tokens / 2.0;
  const double batch = std::min<double>(o.batch, completions);
  const double prefill = prompt_rows * roofline.forward_flops(o.prompt_tokens / 2.0);
  const double decode = rows * roofline.forward_flops(context);
  const double train = prompt_rows * roofline.train_flops(o.prompt_tokens / 2.0) +
                       rows * roofline.train_flops(context);
  const double n = static_cast<double>(count_parameters(c).total);
  const double decode_bytes = rows / batch * roofline.decode_bytes(batch, context);
  // Read: weight, gradient, two moments; written: weight, both moments, packed copy.
  const double update_bytes = (7 * 4 + o.publish.bytes()) * n;
  Json out;
  out["completions"] = completions;
  out["tokens"] = prompt_rows + rows;
  out["gflop"] = {{"sampling", (prefill + decode) / 1e9}, {"training", train / 1e9}};
  out["gbytes"] = {{"sampling", decode_bytes / 1e9}, {"update", update_bytes / 1e9}};
  out["machine"] = {{"gflops", limits.gflops}, {"read_gbs", limits.read_gbs}};
  out["least_seconds"] = {
      {"sampling", prefill / machine.flops + rows / roofline.decode_limit(machine, batch, context)},
      {"training", train / machine.flops},
      {"update", update_bytes / machine.weight_bytes_s}};
  return out;
}

Json describe_adapter(const std::filesystem::path& path, const PolicyConfig& c) {
  const std::unique_ptr<LoraAdapter> adapter = read_adapter(path, c);
  int64_t values = 0;
  for (const ParameterInfo& info : adapter->parameters().infos()) values += info.count;
  return {{"base", adapter_base(path).string()},      {"matrices", adapter->pairs().size()},
          {"rank", adapter->pairs().front().rank},    {"alpha", adapter->alpha()},
          {"base_bits", name_of(adapter_bits(path))}, {"parameters", values}};
}

Json describe(const std::filesystem::path& path, const DescribeOptions& options) {
  Json report;
  const bool adapts = is_adapter(path);
  const PolicyConfig c = described_config(adapts ? adapter_base(path) : path, report);
  const ParameterCounts n = count_parameters(c);
  const double mib = 1 << 20;
  // The packed copy to sample; float32 masters, gradient and two Adam moments on top to train.
  const double floats = static_cast<double>(n.total) * 4 / mib;
  const double packed = static_cast<double>(n.total) * options.publish.bytes() / mib;
  const int recurrent = c.recurrent_layers();
  Json out;
  out["family"] = to_string(c.family);
  out["parameters"] = n.total;
  out["active_parameters"] = n.active;
  out["vocabulary"] = c.vocab_size;
  if (const ImageCodes codes = image_codes(c); codes.present()) {
    out["image_codes"] = {{"codes", codes.codes},
                          {"rows", codes.rows},
                          {"columns", codes.columns},
                          {"guidance", codes.guidance}};
  }
  out["layers"] = c.layers;
  out["width"] = c.width;
  out["context"] = c.max_position;
  out["attention"] = attention_text(c);
  out["experts"] = expert_text(c);
  out["memory_mb"] = {{"sampling", packed}, {"training_state", 4 * floats + packed}};
  // A guided sequence is attended to twice, with its prompt and without.
  out["cache_bytes_per_token"] = (image_codes(c).guided() ? 2 : 1) * c.cache_bytes_per_token();
  if (recurrent > 0) out["state_bytes"] = 4.0 * recurrent * static_cast<double>(c.delta.state());
  out["activation_bytes_per_token"] = {{"full", activation_bytes(c)},
                                       {"checkpoint", 4.0 * (c.layers + 1) * c.width}};
  out["notes"] = c.notes;
  if (adapts) out["adapter"] = describe_adapter(path, c);
  out["made_by"] = describe_stages(stages_of(path));
  describe_tokenizer(path, out);
  for (const auto& [key, value] : report.items()) out[key] = value;
  out["step"] = step_cost(c, options);
  return out;
}

void print_text(const Json& d) {
  for (const auto& [key, value] : d.items()) {
    if (key == "skipped_tensors" && value.size() > 8) {
      std::printf("%-26s %zu, from %s to %s (--json lists all)\n", key.c_str(), value.size(),
                  printable_line(value.front().get<std::string>(), 200).c_str(),
                  printable_line(value.back().get<std::string>(), 200).c_str());
      continue;
    }
    const std::string text =
        value.is_string() ? printable(value.get<std::string>()) : json_line(value);
    std::printf("%-26s %s\n", key.c_str(), text.empty() ? "none" : text.c_str());
  }
}

}  // namespace

int run_describe(const Args& args) {
  DescribeOptions options;
  if (asks_for_help(args)) return print_usage("zeroth describe DIR [--json]", options);
  const Args rest = parse_flags(options, args, "describe");
  if (rest.size() != 1) fail_usage("zeroth describe: give one folder", "zeroth describe DIR");
  const Json description = describe(find_shipped(rest[0]), options);
  if (options.json) {
    print_json(description);
  } else {
    print_text(description);
  }
  return 0;
}

}  // namespace zeroth
