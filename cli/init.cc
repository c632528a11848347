// `zeroth init`: a random checkpoint from a Hugging Face config.json.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/usage.h"
#include "core/config.h"
#include "policy/policy.h"

namespace zeroth {
namespace {

struct InitOptions {
  std::string config;
  std::string out;
  uint64_t seed = 0;
  bool bfloat16 = false;
  template <class V>
  void fields(V& v) {
    v("config", config, "config.json of the model to make");
    v("seed", seed, "names the random weights");
    v("out", out, "folder to write; made when missing");
    v("bfloat16", bfloat16, "store weights as bfloat16 instead of float32");
  }
};

}  // namespace

int run_init(const Args& args) {
  InitOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth init --config CONFIG.json --seed S --out DIR", options);
  const Args rest = parse_flags(options, args, "init");
  if (!rest.empty() || options.config.empty() || options.out.empty()) {
    fail_usage(rest.empty() ? "zeroth init: --config or --out is missing"
                            : "zeroth init: unexpected argument \"" + rest[0] + "\"",
               "usage: zeroth init --config CONFIG.json --seed S --out DIR");
  }
  const PolicyConfig config = PolicyConfig::from_file(options.config);
  const std::filesystem::path out = options.out;
  make_model_folder(out, "init");
  const std::unique_ptr<Policy> policy = Policy::init(config, options.seed);
  policy->save(out, {.bfloat16 = options.bfloat16});
  const ParameterCounts counts = count_parameters(config);
  std::printf("%s: %s, %lld parameters (%lld active), seed %llu\n", out.c_str(),
              to_string(config.family), static_cast<long long>(counts.total),
              static_cast<long long>(counts.active), static_cast<unsigned long long>(options.seed));
  return 0;
}

}  // namespace zeroth
