// `zeroth tokenize build --out DIR ..`: makes a small byte-level tokenizer.
#include <cstdio>
#include <filesystem>

#include "cli/tokenize_build.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_build.h"

namespace zeroth {
namespace {

struct BuildOptions {
  std::string out;
  std::vector<std::string> specials = {"<|endoftext|>"};
  std::vector<std::string> tags = {"<think>", "</think>", "<answer>", "</answer>"};
  std::vector<std::string> words;
  int numbers = -1;
  std::string corpus;
  int merges = 0;
  template <class V>
  void fields(V& v) {
    v("out", out, "folder to write tokenizer.json and tokenizer_config.json to");
    v("specials", specials, "tokens that decode leaves out; the first one ends a text");
    v("tags", tags, "tokens that are kept by decode");
    v("words", words, "texts that are one token where they stand alone");
    v("numbers", numbers, "largest number that is one token, -1: none", Range{-1, 999999});
    v("corpus", corpus, "text file to learn merges from, line by line");
    v("merges", merges, "number of merges to learn", Range{0, 1000000});
  }
};

}  // namespace

int run_tokenize_build(const Args& args) {
  BuildOptions options;
  const std::string usage = "zeroth tokenize build --out DIR [--numbers N] [--words a,b] ..";
  if (asks_for_help(args)) return print_usage(usage, options);
  const auto rest = parse_flags(options, args, "tokenize build");
  if (!rest.empty()) fail_usage("tokenize build: unexpected argument \"" + rest[0] + "\"", usage);
  if (options.out.empty()) fail_usage("tokenize build: --out is missing", usage);
  if (options.corpus.empty() != (options.merges == 0)) {
    fail_usage("tokenize build: --corpus and --merges go together", usage);
  }
  const TokenizerSpec spec{options.specials, options.tags, options.words, options.numbers,
                           options.merges};
  const auto lines = [&](const std::function<void(std::string_view)>& text) {
    for_each_line(options.corpus,
                  [&](std::string_view line, int64_t) { text(std::string(line) + "\n"); });
  };
  const std::filesystem::path dir = options.out;
  const std::string json = build_tokenizer_json(spec, lines);
  std::filesystem::create_directories(dir);
  write_file_atomic(dir / "tokenizer.json", json);
  write_file_atomic(dir / "tokenizer_config.json", build_tokenizer_config(spec));
  std::printf("%s: %d tokens\n", dir.string().c_str(), load_tokenizer(dir)->vocab_size());
  return 0;
}

}  // namespace zeroth
