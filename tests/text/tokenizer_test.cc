#include "text/tokenizer.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/config.h"
#include "core/files.h"
#include "core/json_lines.h"
#include "tests/text/tokenizer_support.h"
#include "text/prompt.h"
#include "text/tokenizer_unicode.h"

using namespace zeroth;
using namespace zeroth::test;

TEST_SUITE("tokenizer") {
  TEST_CASE("ids and decoded text equal those of the reference libraries") {
    for (const char* name : {"smollm2", "gpt2", "mistral-v1", "qwen2-reduced", "llama3-rules",
                             "deepseek-reduced", "flags", "llama2-reduced"}) {
      const auto tokenizer = load_fixture(name);
      const bool special = tokenizer->format() == TokenizerFormat::kBytePairs;
      int lines = 0;
      for_each_json_line(kFixtures / name / "golden.jsonl", [&](const Json& row, int64_t line) {
        CAPTURE(name);
        CAPTURE(line);
        const auto expected = row["ids"].get<std::vector<TokenId>>();
        CHECK(tokenizer->encode(row["text"].get<std::string>(), special) == expected);
        CHECK(replace_invalid_utf8(tokenizer->decode(expected)) ==
              row["decoded"].get<std::string>());
        ++lines;
      });
      CHECK(lines == 154);
    }
  }

  TEST_CASE("any bytes round-trip through a byte-level vocabulary and through byte fallback") {
    for (const char* name : {"llama3-rules", "deepseek-reduced", "gpt2", "mistral-v1"}) {
      const auto tokenizer = load_fixture(name);
      Rng rng(1, 7);
      for (int round = 0; round < 300; ++round) {
        std::string text;
        const uint32_t length = rng.below(60);
        for (uint32_t i = 0; i < length; ++i) {
          const bool plain = rng.chance(0.5);
          text += static_cast<char>(plain ? 32 + rng.below(95) : rng.below(256));
        }
        CAPTURE(name);
        CAPTURE(text);
        CHECK(tokenizer->decode(tokenizer->encode(text, false), false) == text);
      }
    }
  }

  TEST_CASE("a cut character is kept as its bytes") {
    const auto tokenizer = load_fixture("llama3-rules");
    const std::string cut = std::string("caf\xc3\xa9 ").substr(0, 4) + "\xe4\xb8";
    CHECK(tokenizer->decode(tokenizer->encode(cut)) == cut);
    const auto pieces = load_fixture("mistral-v1");
    CHECK(pieces->decode(pieces->encode(cut)) == cut);
  }

  TEST_CASE("decode is the concatenation of token_bytes for a byte-level vocabulary") {
    const auto tokenizer = load_fixture("qwen2-reduced");
    Rng rng(2, 1);
    std::vector<TokenId> ids;
    std::string bytes;
    for (int i = 0; i < 500; ++i) {
      const auto id = static_cast<TokenId>(rng.below(tokenizer->vocab_size()));
      ids.push_back(id);
      bytes += tokenizer->token_bytes(id);
    }
    CHECK(tokenizer->decode(ids, false) == bytes);
  }

  TEST_CASE("special tokens are matched on request and left out on request") {
    const auto tokenizer = load_fixture("qwen2-reduced");
    const TokenId end = tokenizer->token_id("<|endoftext|>");
    REQUIRE(end >= 0);
    const auto matched = tokenizer->encode("a<|endoftext|>");
    CHECK(matched.back() == end);
    const auto plain = tokenizer->encode("a<|endoftext|>", false);
    CHECK(std::find(plain.begin(), plain.end(), end) == plain.end());
    CHECK(tokenizer->decode(plain) == "a<|endoftext|>");
    CHECK(tokenizer->decode(matched) == "a");
    CHECK(tokenizer->decode(matched, false) == "a<|endoftext|>");
  }

  TEST_CASE("an added token without the special flag is matched always and decoded always") {
    const auto tokenizer = load_fixture("deepseek-reduced");
    const TokenId think = tokenizer->token_id("<think>");
    const std::vector<TokenId> expected = {think};
    CHECK(tokenizer->encode("<think>", true) == expected);
    CHECK(tokenizer->encode("<think>", false) == expected);
    CHECK(tokenizer->decode(expected) == "<think>");
  }

  TEST_CASE("control pieces of a SentencePiece model") {
    const auto tokenizer = load_fixture("mistral-v1");
    const auto matched = tokenizer->encode("<s>hi</s>");
    CHECK(matched.front() == tokenizer->bos_id());
    CHECK(matched.back() == tokenizer->eos_ids().at(0));
    CHECK(tokenizer->decode(matched) == "hi");
    CHECK(tokenizer->decode(tokenizer->encode("<s>hi</s>", false)) == "<s>hi</s>");
  }

  TEST_CASE("unknown ids decode to nothing") {
    for (const char* name : {"qwen2-reduced", "mistral-v1", "llama2-reduced"}) {
      const auto tokenizer = load_fixture(name);
      const std::vector<TokenId> ids = {-1, tokenizer->vocab_size(), 1 << 30};
      CHECK(tokenizer->decode(ids, false) == "");
      CHECK(tokenizer->token_bytes(-5) == "");
      CHECK(tokenizer->token_text(tokenizer->vocab_size()) == "");
    }
  }

  TEST_CASE("long texts without a space, long runs, and bytes without a character") {
    for (const char* name : {"deepseek-reduced", "qwen2-reduced", "mistral-v1", "flags"}) {
      const auto tokenizer = load_fixture(name);
      const size_t n = 200'000;
      std::string marks = "a";
      while (marks.size() < n) marks += "\xcc\x81\xcc\xa3";  // out of canonical order
      const bool keeps =
          std::string(name) == "deepseek-reduced" || std::string(name) == "mistral-v1";
      for (const std::string& text :
           {std::string(n, 'a'), std::string(n, ' '), std::string(n, ' ') + "x",
            std::string(n, '\n'), std::string(n, '7'), std::string(n, '\x80'), marks}) {
        const auto ids = tokenizer->encode(text);
        CHECK(!ids.empty());
        if (keeps) CHECK(tokenizer->decode(ids) == text);
      }
    }
  }

  TEST_CASE("end and begin of text: of tokenizer, generation_config and config together") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    const auto bare = Tokenizer::load(folder.path);
    CHECK(bare->eos_ids().empty());
    CHECK(bare->bos_id() == -1);
    REQUIRE(bare->special().notes.size() == 1);
    CHECK(bare->special().notes[0].find("no file names an end token") != std::string::npos);

    folder.write("config.json", R"({"eos_token_id": 7, "bos_token_id": 3})");
    CHECK(Tokenizer::load(folder.path)->eos_ids() == std::vector<TokenId>{7});
    CHECK(Tokenizer::load(folder.path)->bos_id() == 3);
    CHECK(Tokenizer::load(folder.path)->special().notes.empty());

    folder.write("tokenizer_config.json", R"({"eos_token": {"content": "<|im_start|>"}})");
    const auto named = Tokenizer::load(folder.path);
    const TokenId start = named->token_id("<|im_start|>");
    CHECK(named->eos_ids() == std::vector<TokenId>{start, 7});
    REQUIRE(named->special().notes.size() == 1);
    CHECK(named->special().notes[0].find("different end tokens") != std::string::npos);

    folder.write("generation_config.json", R"({"eos_token_id": [5, 7, 99999999]})");
    const auto all = Tokenizer::load(folder.path);
    CHECK(all->eos_ids() == std::vector<TokenId>{start, 5, 7});
    CHECK(all->special().notes[0].find("99999999") != std::string::npos);
    CHECK(all->bos_id() == 3);
    CHECK(all->files().size() == 3);
  }

  TEST_CASE("what a tokenizer puts around a text: its post-processor, or its config instead") {
    TempFolder folder;
    Json file = parse_json(read_file(kFixtures / "qwen2-reduced" / "tokenizer.json"), "t");
    const auto around = [&](const Json& post_processor, const std::string& config) {
      file["post_processor"] = post_processor;
      folder.write("tokenizer.json", file.dump());
      folder.write("tokenizer_config.json", config);
      const auto tokenizer = Tokenizer::load(folder.path);
      return std::pair(tokenizer->special().front, tokenizer->special().back);
    };
    using Ids = std::vector<TokenId>;
    const Json both = {{"type", "TemplateProcessing"},
                       {"single",
                        {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                         {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                         {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
                       {"special_tokens",
                        {{"<s>", {{"id", "<s>"}, {"ids", {4, 5}}, {"tokens", {"x", "y"}}}},
                         {"</s>", {{"id", "</s>"}, {"ids", {6}}, {"tokens", {"z"}}}}}}};
    CHECK(around(both, "{}") == std::pair(Ids{4, 5}, Ids{6}));
    CHECK(around(Json(), "{}") == std::pair(Ids{}, Ids{}));
    const Json steps = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, both}}};
    CHECK(around(steps, "{}") == std::pair(Ids{4, 5}, Ids{6}));
    CHECK(around({{"type", "BertProcessing"}, {"sep", {"b", 9}}, {"cls", {"a", 8}}}, "{}") ==
          std::pair(Ids{8}, Ids{9}));
    const std::string named = R"("bos_token": "<|im_start|>", "eos_token": "<|im_end|>")";
    const auto plain = around(both, "{" + named + R"(, "add_bos_token": true})");
    const auto tokenizer = Tokenizer::load(folder.path);
    CHECK(plain == std::pair(Ids{tokenizer->token_id("<|im_start|>")}, Ids{}));
    CHECK(around(both, "{" + named + R"(, "add_bos_token": false})") == std::pair(Ids{}, Ids{}));
    CHECK_THROWS_WITH_AS(around({{"type", "Odd"}}, "{}"), doctest::Contains("\"Odd\""), Error);
    Json wrong = both;
    wrong["special_tokens"]["<s>"]["ids"] = {1 << 22};
    CHECK_THROWS_WITH_AS(around(wrong, "{}"), doctest::Contains("post_processor"), Error);
  }

  TEST_CASE("prompts: begin tokens as the tokenizer says, forced or dropped") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    folder.write("tokenizer_config.json",
                 R"({"bos_token": "<|im_start|>", "add_bos_token": true})");
    const auto tokenizer = Tokenizer::load(folder.path);
    const TokenId begin = tokenizer->bos_id();
    const std::vector<TokenId> text = tokenizer->encode("hi");
    std::vector<TokenId> with = text;
    with.insert(with.begin(), begin);
    const PromptEncoder automatic(*tokenizer, "auto");
    CHECK(automatic.encode("hi", false) == with);
    CHECK(automatic.encode("hi", true) == text);
    CHECK(automatic.encode("<|im_start|>hi", false) == with);  // never twice
    CHECK(automatic.encode("<|im_start|>hi", true) == with);
    const PromptEncoder always(*tokenizer, "always");
    CHECK(always.encode("hi", true) == with);
    CHECK(always.encode("<|im_start|>hi", true) == with);
    const PromptEncoder never(*tokenizer, "never");
    CHECK(never.encode("hi", false) == text);
    CHECK(never.encode("<|im_start|>hi", true) == text);
    const std::string report = automatic.report("the prompt", with);
    CHECK(report.find("begin token " + std::to_string(begin) + " \"<|im_start|>\"") !=
          std::string::npos);
    CHECK(report.find("text \"<|im_start|>hi\"") != std::string::npos);
    CHECK(report.find("note: no file names an end token") != std::string::npos);
    folder.write("tokenizer_config.json", "{}");
    CHECK_THROWS_WITH_AS(PromptEncoder(*Tokenizer::load(folder.path), "always"),
                         doctest::Contains("no begin-of-text token"), Error);
  }

  TEST_CASE("GPT-2 files end a text by <|endoftext|>") {
    const auto tokenizer = load_fixture("gpt2");
    CHECK(tokenizer->eos_ids() == std::vector<TokenId>{50256});
    CHECK(tokenizer->encode("<|endoftext|>") == std::vector<TokenId>{50256});
  }

  TEST_CASE("slow layouts: the added tokens beside them are tokens") {
    using Ids = std::vector<TokenId>;
    TempFolder pieces;
    fs::copy_file(kFixtures / "mistral-v1" / "tokenizer.model", pieces.path / "tokenizer.model");
    const auto bare = Tokenizer::load(pieces.path);
    const TokenId end = bare->vocab_size();
    CHECK(bare->encode("<|im_end|>").size() > 2);
    const std::string first = std::to_string(end), second = std::to_string(end + 1);
    const auto check = [&](const TempFolder& folder, const Ids& ids) {
      const auto tokenizer = Tokenizer::load(folder.path);
      CHECK(tokenizer->vocab_size() == ids[1] + 1);
      Ids got = tokenizer->encode("<|im_start|>x<|im_end|>");
      CHECK(got.front() == ids[1]);
      CHECK(got.back() == ids[0]);
      CHECK(tokenizer->decode(got, false).find("<|im_start|>") == 0);
      CHECK(tokenizer->decode(got, true) == "x");
    };
    pieces.write("added_tokens.json",
                 "{\"<|im_end|>\": " + first + ", \"<|im_start|>\": " + second + "}");
    pieces.write("tokenizer_config.json",
                 R"({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})");
    check(pieces, {end, end + 1});
    fs::remove(pieces.path / "added_tokens.json");
    pieces.write("tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"" + first +
                     "\": {\"content\": \"<|im_end|>\", \"special\": true}, \"" + second +
                     "\": {\"content\": \"<|im_start|>\", \"special\": true}}}");
    check(pieces, {end, end + 1});
    // An id that is not the next one would give another token's row.
    pieces.write("added_tokens.json", "{}");
    pieces.write("tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"" + second +
                     "\": {\"content\": \"<|im_end|>\", \"special\": true}}}");
    CHECK_THROWS_WITH_AS(Tokenizer::load(pieces.path), doctest::Contains("<|im_end|>"), Error);

    TempFolder words;
    for (const char* name : {"vocab.json", "merges.txt"}) {
      fs::copy_file(kFixtures / "gpt2" / name, words.path / name);
    }
    const std::string type = R"("tokenizer_class": "GPT2Tokenizer")";
    words.write("tokenizer_config.json", "{" + type + "}");
    const TokenId behind = Tokenizer::load(words.path)->vocab_size();
    words.write("added_tokens.json", "{\"<|im_end|>\": " + std::to_string(behind) +
                                         ", \"<|im_start|>\": " + std::to_string(behind + 1) + "}");
    words.write("tokenizer_config.json",
                "{" + type + R"(, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})");
    check(words, {behind, behind + 1});
  }

  TEST_CASE("tokens that only a config names, and flags that it gives") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    const auto bare = Tokenizer::load(folder.path);
    folder.write("tokenizer_config.json",
                 R"({"pad_token": "<|pad|>", "extra_special_tokens": {"image": "<|image|>"}})");
    const auto named = Tokenizer::load(folder.path);
    CHECK(named->vocab_size() == bare->vocab_size() + 2);
    CHECK(named->special().named_only == 2);
    CHECK(named->encode("<|image|>") == std::vector<TokenId>{bare->vocab_size() + 1});
    const TokenId start = bare->token_id("<|im_start|>");
    CHECK(bare->encode("x <|im_start|> y").size() > 3);
    folder.write("tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"" + std::to_string(start) +
                     "\": {\"content\": \"<|im_start|>\", \"special\": true, \"lstrip\": true, "
                     "\"rstrip\": true}}}");
    CHECK(Tokenizer::load(folder.path)->encode("x <|im_start|> y").size() == 3);
  }

  TEST_CASE("tokens that only tokenizer_config.json names are added") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    const TokenId next = Tokenizer::load(folder.path)->vocab_size();
    folder.write("tokenizer_config.json",
                 R"({"added_tokens_decoder": {")" + std::to_string(next) +
                     R"(": {"content": "<extra>", "special": true, "normalized": false}}})");
    CHECK(Tokenizer::load(folder.path)->encode("<extra>") == std::vector<TokenId>{next});
  }

  TEST_CASE("blanks that an added token swallows are not matched again") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    const TokenId next = Tokenizer::load(folder.path)->vocab_size();
    const auto token = [&](int offset, const char* content, const char* strips) {
      return "\"" + std::to_string(next + offset) + R"(": {"content": ")" + content +
             R"(", "special": false, "normalized": false, )" + strips + "}";
    };
    folder.write("tokenizer_config.json",
                 R"({"added_tokens_decoder": {)" +
                     token(0, "<<", R"("lstrip": true, "rstrip": true)") + ", " +
                     token(1, "  ", R"("lstrip": true, "rstrip": true)") + ", " +
                     token(2, "\\n", R"("lstrip": false, "rstrip": false)") + "}}");
    const auto tokenizer = Tokenizer::load(folder.path);
    CHECK(tokenizer->encode("      ") == std::vector<TokenId>{next + 1});
    CHECK(tokenizer->encode("<<      ") == std::vector<TokenId>{next});
    CHECK(tokenizer->encode(" <<  \n <<") == std::vector<TokenId>{next, next});
    CHECK(tokenizer->encode("\n\n") == std::vector<TokenId>{next + 2, next + 2});
  }
}
