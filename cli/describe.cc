// `zeroth describe`: what a checkpoint is, and what training it would cost.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "core/config.h"
#include "policy/checkpoint.h"
#include "policy/config.h"

namespace zeroth {
namespace {

struct DescribeOptions {
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("json", json, "print one JSON object");
  }
};

std::string attention_text(const PolicyConfig& c) {
  if (c.is_latent()) {
    return "latent, " + std::to_string(c.heads) + " heads, rank " +
           std::to_string(c.latent.kv_rank);
  }
  return std::to_string(c.heads) + " heads of " + std::to_string(c.head_dim) + ", " +
         std::to_string(c.kv_heads) + " key/value heads";
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
std::string tokenizer_file(const std::filesystem::path& dir) {
  for (const char* name : {"tokenizer.json", "vocab.json", "tokenizer.model"}) {
    if (std::filesystem::exists(dir / name)) return name;
  }
  return "";
}

Json describe(const std::filesystem::path& dir) {
  const PolicyConfig c = PolicyConfig::from_file(dir / "config.json");
  const ParameterCounts n = count_parameters(c);
  const double mib = 1 << 20;
  // float32: masters and packed copy to sample; gradient and two Adam moments on top to train.
  const double weights = static_cast<double>(n.total) * 4 / mib;
  const double cache_token = 4.0 * c.layers * c.cache_heads() * (c.k_dim() + c.v_dim());
  Json out;
  out["family"] = to_string(c.family);
  out["parameters"] = n.total;
  out["active_parameters"] = n.active;
  out["vocabulary"] = c.vocab_size;
  out["layers"] = c.layers;
  out["width"] = c.width;
  out["context"] = c.max_position;
  out["attention"] = attention_text(c);
  out["experts"] = expert_text(c);
  out["memory_mb"] = {{"sampling", 2 * weights}, {"training_state", 5 * weights}};
  out["cache_bytes_per_token"] = cache_token;
  out["tokenizer"] = tokenizer_file(dir);
  const Checkpoint checkpoint(dir, c);
  out["files"] = checkpoint.report().files;
  Json& types = out["stored_types"] = Json::object();
  for (const auto& [name, count] : checkpoint.report().dtypes) types[name] = count;
  out["skipped_tensors"] = checkpoint.report().skipped;
  return out;
}

void print_text(const Json& d) {
  for (const auto& [key, value] : d.items()) {
    if (key == "skipped_tensors" && value.size() > 8) {
      std::printf("%-22s %zu, from %s to %s (--json lists all)\n", key.c_str(), value.size(),
                  value.front().get<std::string>().c_str(),
                  value.back().get<std::string>().c_str());
      continue;
    }
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::printf("%-22s %s\n", key.c_str(), text.empty() ? "none" : text.c_str());
  }
}

}  // namespace

int run_describe(const Args& args) {
  DescribeOptions options;
  if (args.empty() || std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::printf("usage: zeroth describe DIR [--json]\n\n%s", config_help(options).c_str());
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  const Args rest = parse_flags(options, args, "describe");
  if (rest.size() != 1) fail_usage("zeroth describe: give one folder", "zeroth describe DIR");
  const Json description = describe(rest[0]);
  if (options.json) {
    std::printf("%s\n", description.dump().c_str());
  } else {
    print_text(description);
  }
  return 0;
}

}  // namespace zeroth
