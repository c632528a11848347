// `zeroth merge`: several checkpoints of one shape as one.
#include "model/formats/merge.h"

#include <cstdio>

#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "model/formats/peft.h"
#include "model/formats/provenance.h"

namespace zeroth {
namespace {

struct Options {
  std::string out;
  std::string base;
  std::string adapter;
  std::vector<double> weights;
  bool bfloat16 = false;
  template <class V>
  void fields(V& v) {
    v("out", out, "folder to write; made when missing");
    v("weights", weights, "one share a model, [0.7,0.3]; empty: equal ones, which add up to 1");
    v("base", base,
      "task arithmetic: add weight x (model - base) of every model to this checkpoint; empty: the "
      "weighted average of the models");
    v("adapter", adapter, "folder of a PEFT adapter to merge into the only model");
    v("bfloat16", bfloat16, "store weights as bfloat16 instead of float32");
  }
};

// The stages of all that went into it.
void write_provenance(const Args& models, const Options& options) {
  Json stage = new_stage("merge");
  Json lines = Json::array();
  Args all = models;
  if (!options.base.empty()) all.push_back(options.base);
  for (const std::string& model : all) lines.push_back(stages_of(model));
  stage["models"] = models;
  if (!options.base.empty()) stage["base"] = options.base;
  if (!options.adapter.empty()) {
    stage["adapter"] = options.adapter;
    stage["adapter_base"] = name_of(adapter_bits(options.adapter));
  }
  stage["weights"] = options.weights;
  stage["lines"] = std::move(lines);
  write_file_atomic(std::filesystem::path(options.out) / kProvenanceFile,
                    provenance_text(Json::array(), std::move(stage)));
}

}  // namespace

int run_merge(const Args& args) {
  constexpr const char* kUsage =
      "zeroth merge MODEL.. --out DIR [--weights W] [--base DIR2] [--adapter DIR3]";
  Options options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  Args models = parse_flags(options, args, "merge");
  if (models.empty() || options.out.empty()) {
    fail_usage(
        models.empty() ? "zeroth merge: no model is named" : "zeroth merge: --out is missing",
        std::string("usage: ") + kUsage);
  }
  for (std::string& model : models) model = find_shipped(model);
  options.base = find_shipped(options.base);
  const ModelValues merged =
      merge({models.begin(), models.end()}, {options.weights, options.base, options.adapter});
  print_notes(merged.config.notes);
  make_model_folder(options.out, "merge");
  copy_tokenizer(options.base.empty() ? models[0] : options.base, options.out);
  SaveOptions save;
  save.bfloat16 = options.bfloat16;
  write_checkpoint(options.out, merged.config, merged.parameters, save);
  write_provenance(models, options);
  std::printf("%s: %zu models merged, %lld parameters\n", options.out.c_str(), models.size(),
              static_cast<long long>(count_parameters(merged.config).total));
  return 0;
}

}  // namespace zeroth
