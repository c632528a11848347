// Vocabularies of ranked byte strings: tiktoken files and Mistral's tekken.json.
#include "text/tokenizer_ranks.h"

#include <doctest/doctest.h>

#include "core/config.h"
#include "tests/text/tokenizer_support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::string base64(const std::string& bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kAlphabet[bits >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

// Every byte in descending order, then these; "abc" is made of "a" and "bc" or "ab" and "c".
std::vector<std::string> byte_strings() {
  std::vector<std::string> all;
  for (int byte = 255; byte >= 0; --byte) all.emplace_back(1, static_cast<char>(byte));
  for (const char* more : {"bc", "ab", "abc", "\xc3\xa9", "  ", "hello"}) all.emplace_back(more);
  return all;
}

std::string tiktoken_file() {
  std::string text;
  int rank = 0;
  for (const std::string& bytes : byte_strings()) {
    text += base64(bytes) + " " + std::to_string(rank++) + "\n";
  }
  return text;
}

constexpr const char* kKimi =
    R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": "[EOS]",
        "added_tokens_decoder": {"262": {"content": "[BOS]", "special": true},
                                 "263": {"content": "[EOS]", "special": true}}})";

Json tekken() {
  Json vocab = Json::array();
  int rank = 0;
  for (const std::string& bytes : byte_strings()) {
    vocab.push_back({{"rank", rank++}, {"token_bytes", base64(bytes)}, {"token_str", nullptr}});
  }
  return {{"config",
           {{"pattern", R"(\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+)"},
            {"num_vocab_tokens", rank},
            {"default_vocab_size", rank + 10},
            {"default_num_special_tokens", 10},
            {"version", "v3"}}},
          {"vocab", vocab}};
}

using Ids = std::vector<TokenId>;

}  // namespace

TEST_SUITE("tokenizer ranks") {
  TEST_CASE("a tiktoken file: the lowest rank is merged first, specials stand behind") {
    TempFolder folder;
    folder.write("tiktoken.model", tiktoken_file());
    folder.write("tokenizer_config.json", kKimi);
    const auto tokenizer = Tokenizer::load(folder.path);
    CHECK(tokenizer->vocab_size() == 262 + 256);
    // "bc" (256) before "ab" (257), so that "abcb" is a|bc|b -> abc|b.
    CHECK(tokenizer->encode("abcb") == Ids{258, 255 - 'b'});
    CHECK(tokenizer->encode("xbc") == Ids{255 - 'x', 256});
    CHECK(tokenizer->encode("hello") == Ids{261});  // a whole word needs no merges
    CHECK(tokenizer->encode("\xc3\xa9") == Ids{259});
    CHECK(tokenizer->encode("[BOS]ab") == Ids{262, 257});
    CHECK(tokenizer->decode(Ids{262, 258, 259, 262 + 255}, false) ==
          "[BOS]abc\xc3\xa9<|reserved_token_517|>");
    CHECK(tokenizer->bos_id() == 262);
    CHECK(tokenizer->eos_ids() == Ids{263});
    CHECK(tokenizer->special().front.empty());
    // tokenizer.model of the same kind, as Llama ships it, is told from SentencePiece.
    TempFolder llama;
    llama.write("tokenizer.model", tiktoken_file());
    CHECK(error_of([&] { Tokenizer::load(llama.path); }).find("tiktoken file of 262 ranks") !=
          std::string::npos);
  }

  TEST_CASE("tekken.json: ranks behind the special tokens") {
    TempFolder folder;
    folder.write("tekken.json", tekken().dump());
    const auto tokenizer = Tokenizer::load(folder.path);
    CHECK(tokenizer->vocab_size() == 10 + 262);
    CHECK(tokenizer->encode("abcb") == Ids{10 + 258, 10 + 255 - 'b'});
    CHECK(tokenizer->encode("[INST]ab</s>") == Ids{3, 10 + 257, 2});
    CHECK(tokenizer->bos_id() == 1);
    CHECK(tokenizer->eos_ids() == Ids{2});
    CHECK(tokenizer->special().front == Ids{1});
    // The vocabulary may hold more ranks than the model has rows for.
    Json cut = tekken();
    cut["config"]["default_vocab_size"] = 10 + 257;
    folder.write("tekken.json", cut.dump());
    CHECK(Tokenizer::load(folder.path)->vocab_size() == 10 + 257);
    CHECK(Tokenizer::load(folder.path)->encode("ab").size() == 2);
    Json named = tekken();
    named["special_tokens"] = {{{"rank", 0}, {"token_str", "<unk>"}, {"is_control", true}},
                               {{"rank", 7}, {"token_str", "[THINK]"}, {"is_control", true}}};
    folder.write("tekken.json", named.dump());
    CHECK(Tokenizer::load(folder.path)->encode("[THINK]") == Ids{7});
  }

  TEST_CASE("what is no such file is refused with the place") {
    TempFolder folder;
    folder.write("tokenizer_config.json", kKimi);
    const auto ranks = [&](const std::string& text) {
      folder.write("tiktoken.model", text);
      return error_of([&] { Tokenizer::load(folder.path); });
    };
    CHECK(ranks(tiktoken_file()) == "no error");
    CHECK(ranks("IQ== 0\n").find("tiktoken") != std::string::npos);
    CHECK(ranks(tiktoken_file() + "YWI= x\n").find(":263:") != std::string::npos);
    CHECK(ranks(tiktoken_file() + "YWI 262\n").find(":263:") != std::string::npos);
    CHECK(ranks(tiktoken_file() + "YWJj 99999999999999999999\n").find(":263:") !=
          std::string::npos);
    TempFolder mistral;
    const auto refusal = [&](const Json& json) {
      mistral.write("tekken.json", json.dump());
      return error_of([&] { Tokenizer::load(mistral.path); });
    };
    CHECK(refusal({{"config", Json::object()}, {"vocab", Json::array()}}).find("tekken") !=
          std::string::npos);
    Json json = tekken();
    json["vocab"][300] = {{"rank", -1}, {"token_bytes", "YQ=="}};
    CHECK(refusal(json).find("rank") != std::string::npos);
    json = tekken();
    json["vocab"].erase(3);
    CHECK(refusal(json).find("byte 252") != std::string::npos);
    json = tekken();
    json["config"].erase("pattern");
    CHECK(refusal(json).find("pattern") != std::string::npos);
    json = tekken();
    json["config"]["default_num_special_tokens"] = 1e18;
    CHECK(refusal(json).find("default_num_special_tokens") != std::string::npos);
  }
}
