// `zeroth tokenize --model DIR --text T`: text to token ids and back; `zeroth tokenize build` makes
// a tokenizer.
#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/tokenize_build.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "text/tokenizer.h"

namespace zeroth {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  std::vector<int> ids;
  bool plain = false;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the tokenizer");
    v("text", text, "text to tokenize");
    v("file", file, "file to tokenize, byte for byte");
    v("ids", ids, "ids to decode instead, for example 12,7,3");
    v("plain", plain, "read special tokens in the text as ordinary text");
    v("json", json, "print one JSON object: ids, and tokens in the vocabulary's spelling");
  }
};

// JSON text must be UTF-8: bytes of cut characters are shown as U+FFFD.
std::string dump(const Json& json) { return json_line(json); }

void print_decoded(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  const std::vector<TokenId> ids(options.ids.begin(), options.ids.end());
  for (const TokenId id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      fail_usage("--ids: " + std::to_string(id) + " is no token of this vocabulary",
                 "ids are 0.." + std::to_string(tokenizer.vocab_size() - 1));
    }
  }
  const std::string text = tokenizer.decode(ids, false);
  if (options.json) {
    std::printf("%s\n", dump({{"ids", ids}, {"text", text}}).c_str());
  } else {
    std::printf("%s\n", shown_text(text).c_str());
  }
}

void print_tokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool json) {
  Json tokens = Json::array();
  for (const TokenId id : ids) tokens.push_back(tokenizer.token_text(id));
  if (json) {
    std::printf("%s\n", dump({{"ids", ids}, {"tokens", tokens}}).c_str());
    return;
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    std::printf("%8d  %s\n", ids[i], dump(tokenizer.token_bytes(ids[i])).c_str());
  }
}

}  // namespace

int run_tokenize(const Args& args) {
  if (!args.empty() && args[0] == "build") {
    return run_tokenize_build(Args(args.begin() + 1, args.end()));
  }
  TokenizeOptions options;
  const std::string usage =
      "zeroth tokenize --model DIR (--text T | --file F | --ids 1,2,3) [--json]";
  if (asks_for_help(args))
    return print_usage(usage + "\n       zeroth tokenize build --help", options);
  const auto rest = parse_flags(options, args, "tokenize");
  if (!rest.empty()) fail_usage("tokenize: unexpected argument \"" + rest[0] + "\"", usage);
  if (options.model.empty()) fail_usage("tokenize: --model is missing", usage);
  const int inputs = !options.text.empty() + !options.file.empty() + !options.ids.empty();
  if (inputs > 1) fail_usage("tokenize: --text, --file and --ids exclude each other", usage);
  const auto tokenizer = load_tokenizer(find_shipped(options.model));
  if (!options.ids.empty()) {
    print_decoded(*tokenizer, options);
    return 0;
  }
  const std::string text = options.file.empty() ? options.text : read_file(options.file);
  print_tokens(*tokenizer, tokenizer->encode(text, !options.plain), options.json);
  return 0;
}

}  // namespace zeroth
