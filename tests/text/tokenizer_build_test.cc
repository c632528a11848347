#include "text/tokenizer_build.h"

#include <doctest/doctest.h>

#include "core/config.h"
#include "tests/text/tokenizer_support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::unique_ptr<Tokenizer> built(const TokenizerSpec& spec, const TextSource& corpus = nullptr) {
  TempFolder folder;
  folder.write("tokenizer.json", build_tokenizer_json(spec, corpus));
  folder.write("tokenizer_config.json", build_tokenizer_config(spec));
  return Tokenizer::load(folder.path);
}

// Vocabulary spellings of the tokens of a text.
std::vector<std::string> spelt(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> out;
  for (const TokenId id : tokenizer.encode(text)) out.push_back(tokenizer.token_text(id));
  return out;
}

using Strings = std::vector<std::string>;

TokenizerSpec countdown_spec() {
  TokenizerSpec spec;
  spec.tags = {"<think>", "</think>"};
  spec.words = {"wait", "ok", "->", " the"};
  spec.max_number = 40;
  return spec;
}

}  // namespace

TEST_SUITE("tokenizer build") {
  TEST_CASE("numbers, words and tags are one token each where they stand alone") {
    const auto tokenizer = built(countdown_spec());
    CHECK(tokenizer->vocab_size() == 1 + 2 + 256 + 31 + 4);
    CHECK(tokenizer->eos_ids() == std::vector<TokenId>{0});
    CHECK(spelt(*tokenizer, "<think>15+9=24->24ok") ==
          Strings{"<think>", "15", "+", "9", "=", "24", "->", "24", "ok"});
    CHECK(spelt(*tokenizer, "wait 40\n41") == Strings{"wait", "Ġ", "40", "Ċ", "4", "1"});
    CHECK(spelt(*tokenizer, "007") == Strings{"0", "0", "7"});
    CHECK(spelt(*tokenizer, "okay") == Strings{"o", "k", "a", "y"});
    CHECK(spelt(*tokenizer, "await") == Strings{"a", "w", "a", "i", "t"});
    CHECK(spelt(*tokenizer, " ok") == Strings{"Ġ", "ok"});
    CHECK(spelt(*tokenizer, "in the") == Strings{"i", "n", "Ġthe"});
    CHECK(spelt(*tokenizer, " then") == Strings{"Ġ", "t", "h", "e", "n"});
  }

  TEST_CASE("every text round-trips") {
    const auto tokenizer = built(countdown_spec());
    Rng rng(4, 4);
    for (int round = 0; round < 300; ++round) {
      std::string text;
      for (uint32_t i = rng.below(40); i > 0; --i) text += static_cast<char>(rng.below(256));
      text += round % 2 == 0 ? "wait 12ok" : "\xc3\xa9->7";
      CAPTURE(text);
      CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
    }
  }

  TEST_CASE("merges: the most frequent pair first, of equals the smaller ids") {
    // "ab" 5 times, then "abc" 3 times, "xy" twice, "q!" once.
    TokenizerSpec spec;
    spec.merges = 10;
    const TextSource corpus = [](const std::function<void(std::string_view)>& text) {
      text("ab");
      text("ab");
      text("abc");
      text("abc\nabc");
      text("xy xy qz 77 77 77 77 77 77 77 77");
    };
    const auto tokenizer = built(spec, corpus);
    const int first = 1 + 256;
    CHECK(tokenizer->token_text(first) == "ab");
    CHECK(tokenizer->token_text(first + 1) == "abc");
    CHECK(tokenizer->token_text(first + 2) == "xy");
    CHECK(tokenizer->vocab_size() == first + 3);  // no other pair occurs twice, digits never merge
    CHECK(spelt(*tokenizer, "abcab xyz") == Strings{"abc", "ab", "Ġ", "xy", "z"});
    CHECK(build_tokenizer_json(spec, corpus) == build_tokenizer_json(spec, corpus));
  }

  TEST_CASE("bad requests") {
    TokenizerSpec spec;
    spec.specials.clear();
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("special") != std::string::npos);
    spec = {};
    spec.words = {"a b", "a b"};
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("listed twice") != std::string::npos);
    spec.words = {""};
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("empty") != std::string::npos);
    spec.words = {"\xff"};
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("not UTF-8") != std::string::npos);
    spec.words.clear();
    spec.merges = 3;
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("corpus") != std::string::npos);
    spec.merges = 0;
    spec.max_number = 1 << 30;
    CHECK(error_of([&] { build_tokenizer_json(spec); }).find("max_number") != std::string::npos);
  }
}
