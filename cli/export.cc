// `zeroth export`: a checkpoint as a Hugging Face folder or as a GGUF file, with its tokenizer.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_write.h"
#include "model/formats/peft.h"
#include "model/formats/provenance.h"
#include "text/tokenizer.h"

namespace zeroth {
namespace {

struct ExportOptions {
  std::string model;
  std::string adapter;
  std::string out;
  std::string type = "f32";
  std::string word_rules;
  bool no_tokenizer = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "checkpoint folder, or a .gguf file");
    v("adapter", adapter, "folder of a PEFT adapter for the model, which is merged");
    v("out", out, "a new folder (Hugging Face layout), or a file name that ends in .gguf");
    v("type", type, "stored type of matrices; q8_0 and f16 only in GGUF",
      Choice{{"f32", "bf16", "f16", "q8_0"}});
    v("word_rules", word_rules,
      "llama.cpp's name for the tokenizer's word rules, when they equal none that are known");
    v("no_tokenizer", no_tokenizer, "leave the tokenizer out");
  }
};

GgmlType ggml_type(const std::string& name) {
  if (name == "f32") return GgmlType::kF32;
  if (name == "f16") return GgmlType::kF16;
  return name == "bf16" ? GgmlType::kBf16 : GgmlType::kQ8_0;
}

void export_gguf(const ExportOptions& options, const ModelValues& weights) {
  std::unique_ptr<Tokenizer> tokenizer;
  if (!options.no_tokenizer) tokenizer = load_tokenizer(options.model);
  GgufOptions gguf;
  gguf.type = ggml_type(options.type);
  gguf.word_rules = options.word_rules;
  const std::string note =
      write_gguf(options.out, weights.config, weights.parameters, tokenizer.get(), gguf);
  if (!note.empty()) print_notes({note});
}

void export_folder(const ExportOptions& options, const ModelValues& weights) {
  if (options.type != "f32" && options.type != "bf16") {
    fail_usage("zeroth export: --type " + options.type + " is not written to safetensors",
               "use f32 or bf16, or give --out a name that ends in .gguf");
  }
  make_model_folder(options.out, "export");
  if (!options.no_tokenizer) copy_tokenizer(options.model, options.out);
  SaveOptions save;
  save.bfloat16 = options.type == "bf16";
  write_checkpoint(options.out, weights.config, weights.parameters, save);
  Json stage = new_stage("export");
  stage["model"] = options.model;
  if (!options.adapter.empty()) {
    stage["adapter"] = options.adapter;
    stage["adapter_base"] = name_of(adapter_bits(options.adapter));
  }
  write_file_atomic(std::filesystem::path(options.out) / kProvenanceFile,
                    provenance_text(stages_of(options.model), std::move(stage)));
}

}  // namespace

int run_export(const Args& args) {
  constexpr const char* kUsage =
      "zeroth export --model DIR --out DIR2 | FILE.gguf [--type f32|bf16|f16|q8_0]";
  ExportOptions options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  const Args rest = parse_flags(options, args, "export");
  if (!rest.empty() || options.model.empty() || options.out.empty()) {
    fail_usage(rest.empty() ? "zeroth export: --model or --out is missing"
                            : "zeroth export: unexpected argument \"" + rest[0] + "\"",
               std::string("usage: ") + kUsage);
  }
  const bool gguf = has_gguf_name(options.out);
  options.model = find_shipped(options.model);
  const ModelValues weights = load_values(options.model, options.adapter);
  print_notes(weights.config.notes);
  gguf ? export_gguf(options, weights) : export_folder(options, weights);
  std::printf("%s: %s, %lld parameters, %s\n", options.out.c_str(),
              to_string(weights.config.family),
              static_cast<long long>(count_parameters(weights.config).total), options.type.c_str());
  return 0;
}

}  // namespace zeroth
