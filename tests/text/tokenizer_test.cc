#include "text/tokenizer.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/config.h"
#include "core/json_lines.h"
#include "tests/text/tokenizer_support.h"
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

  TEST_CASE("end and begin of text: the first config that names any") {
    TempFolder folder;
    fs::copy_file(kFixtures / "qwen2-reduced" / "tokenizer.json", folder.path / "tokenizer.json");
    CHECK(Tokenizer::load(folder.path)->eos_ids().empty());
    CHECK(Tokenizer::load(folder.path)->bos_id() == -1);
    folder.write("config.json", R"({"eos_token_id": 7, "bos_token_id": 3})");
    CHECK(Tokenizer::load(folder.path)->eos_ids() == std::vector<TokenId>{7});
    CHECK(Tokenizer::load(folder.path)->bos_id() == 3);
    folder.write("tokenizer_config.json", R"({"eos_token": {"content": "<|im_start|>"}})");
    const auto named = Tokenizer::load(folder.path);
    CHECK(named->eos_ids() == std::vector<TokenId>{named->token_id("<|im_start|>")});
    folder.write("generation_config.json", R"({"eos_token_id": [5, 6]})");
    CHECK(Tokenizer::load(folder.path)->eos_ids() == std::vector<TokenId>{5, 6});
    CHECK(Tokenizer::load(folder.path)->bos_id() == 3);
    CHECK(Tokenizer::load(folder.path)->files().size() == 3);
  }

  TEST_CASE("GPT-2 files end a text by <|endoftext|>") {
    const auto tokenizer = load_fixture("gpt2");
    CHECK(tokenizer->eos_ids() == std::vector<TokenId>{50256});
    CHECK(tokenizer->encode("<|endoftext|>") == std::vector<TokenId>{50256});
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
