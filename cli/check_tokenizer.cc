// `zeroth check tokenizer DIR..`: holds tokenizers against the ids and texts that the reference
// library of their format gave.
#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/json_lines.h"
#include "model/formats/gguf_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

struct CheckTokenizerOptions {
  std::string golden = "golden.jsonl";
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("golden", golden, "file beside the tokenizer; lines of text, ids and (optional) decoded");
    v("json", json, "print one JSON object a folder");
  }
};

struct Result {
  int64_t lines = 0;
  int64_t differ = 0;
};

std::string dump(const Json& json) { return json_line(json); }

// One line of the file; true when it agrees, else prints both sides.
bool agrees(const Tokenizer& tokenizer, bool special, const Json& row, const std::string& where) {
  if (!row.is_object() || !row.contains("text") || !row["text"].is_string() ||
      !row.contains("ids") || !row["ids"].is_array()) {
    fail(where + ": not a line of {\"text\", \"ids\", \"decoded\"}");
  }
  for (const Json& id : row["ids"]) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{INT32_MAX}) {
      fail(where + ": ids: " + dump(id) + " is no token id");
    }
  }
  const auto text = row["text"].get<std::string>();
  const auto expected = row["ids"].get<std::vector<TokenId>>();
  const std::vector<TokenId> ids = tokenizer.encode(text, special);
  bool good = ids == expected;
  if (!good) {
    std::fprintf(stderr, "%s: ids differ\n  text     %s\n  expected %s\n  got      %s\n",
                 where.c_str(), dump(text).c_str(), dump(expected).c_str(), dump(ids).c_str());
  }
  if (row.contains("decoded") && row["decoded"].is_string()) {
    // The reference libraries write U+FFFD for bytes that are not UTF-8; decode keeps the bytes.
    const std::string decoded = replace_invalid_utf8(tokenizer.decode(expected));
    if (decoded != row["decoded"].get<std::string>()) {
      good = false;
      std::fprintf(stderr, "%s: decoded text differs\n  expected %s\n  got      %s\n",
                   where.c_str(), dump(row["decoded"]).c_str(), dump(decoded).c_str());
    }
  }
  return good;
}

Result check_folder(const std::filesystem::path& dir, const std::string& golden) {
  const auto tokenizer = load_tokenizer(dir);
  // sentencepiece never matches control pieces in a text, the tokenizers library does.
  const bool special = tokenizer->format() != TokenizerFormat::kSentencePiece;
  Result result;
  const std::filesystem::path path = dir / golden;
  for_each_json_line(path, [&](const Json& row, int64_t line) {
    ++result.lines;
    const std::string where = path.string() + ":" + std::to_string(line);
    if (!agrees(*tokenizer, special, row, where)) ++result.differ;
  });
  return result;
}

}  // namespace

int run_check_tokenizer(const Args& args) {
  CheckTokenizerOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check tokenizer DIR..", options);
  const auto folders = parse_flags(options, args, "check tokenizer");
  if (folders.empty()) {
    fail_usage("check tokenizer: no folder given", "zeroth check tokenizer DIR [DIR..] [--json]");
  }
  bool good = true;
  for (const std::string& folder : folders) {
    const Result result = check_folder(folder, options.golden);
    if (result.lines == 0) fail(folder + "/" + options.golden + ": no lines to check");
    good = good && result.differ == 0;
    if (options.json) {
      const Json row = {{"folder", folder}, {"lines", result.lines}, {"differ", result.differ}};
      std::printf("%s\n", dump(row).c_str());
    } else {
      std::printf("%s: %lld lines, %lld differ\n", folder.c_str(),
                  static_cast<long long>(result.lines), static_cast<long long>(result.differ));
    }
  }
  return good ? 0 : 1;
}

}  // namespace zeroth
