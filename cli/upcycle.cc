// `zeroth upcycle`: a dense checkpoint as a mixture of experts that computes the same function.
#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "model/formats/upcycle.h"

namespace zeroth {
namespace {

struct Options {
  std::string model;
  std::string out;
  bool bfloat16 = false;
  UpcycleOptions upcycle;
  template <class V>
  void fields(V& v) {
    v("model", model, "dense checkpoint: folder or .gguf file of a llama, qwen2 or qwen3 model");
    v("out", out, "folder to write; made when missing");
    v("experts", upcycle.experts, "copies of every feed-forward block", Range{1, 256});
    v("top_k", upcycle.top_k, "experts that a token meets", Range{1, 256});
    v("noise", upcycle.noise, "relative standard deviation of noise on the experts", Range{0, 10});
    v("router_std", upcycle.router_std, "standard deviation of the router's weights",
      Range{0, 100});
    v("seed", upcycle.seed, "names router and noise");
    v("bfloat16", bfloat16, "store weights as bfloat16 instead of float32");
  }
};

}  // namespace

int run_upcycle(const Args& args) {
  constexpr const char* kUsage = "zeroth upcycle --model DIR --out DIR2 --experts E --top-k K";
  Options options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  const Args rest = parse_flags(options, args, "upcycle");
  if (!rest.empty() || options.model.empty() || options.out.empty()) {
    fail_usage(rest.empty() ? "zeroth upcycle: --model or --out is missing"
                            : "zeroth upcycle: unexpected argument \"" + rest[0] + "\"",
               std::string("usage: ") + kUsage);
  }
  options.model = find_shipped(options.model);
  const ModelValues dense = load_values(options.model);
  print_notes(dense.config.notes);
  const ModelValues sparse = upcycle(dense, options.upcycle);
  make_model_folder(options.out, "upcycle");
  copy_tokenizer(options.model, options.out);
  SaveOptions save;
  save.bfloat16 = options.bfloat16;
  write_checkpoint(options.out, sparse.config, sparse.parameters, save);
  const ParameterCounts counts = count_parameters(sparse.config);
  std::printf("%s: %s, %d experts, top %d, %lld parameters (%lld active)\n", options.out.c_str(),
              to_string(sparse.config.family), options.upcycle.experts, options.upcycle.top_k,
              static_cast<long long>(counts.total), static_cast<long long>(counts.active));
  return 0;
}

}  // namespace zeroth
