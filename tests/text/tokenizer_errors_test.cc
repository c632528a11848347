// Hostile and broken tokenizer files: a named Error, never a crash.
#include <doctest/doctest.h>

#include "core/config.h"
#include "core/files.h"
#include "tests/text/tokenizer_support.h"
#include "text/tokenizer_file.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

// A small valid tokenizer.json to break.
Json small() {
  return parse_json(R"({
    "version": "1.0", "added_tokens": [
      {"id": 3, "content": "<x>", "special": true, "normalized": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Isolated"},
    "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})",
                    "small");
}

std::string load_error(const std::string& text) {
  TempFolder folder;
  folder.write("tokenizer.json", text);
  return error_of([&] { Tokenizer::load(folder.path); });
}

std::string load_error(const Json& json) { return load_error(json.dump()); }

void check_error(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CHECK(message.find(part) != std::string::npos);
  CHECK(message.find("tokenizer.json") != std::string::npos);
}

std::string regex_error(const std::string& pattern) {
  Json json = small();
  json["pre_tokenizer"]["pattern"]["Regex"] = pattern;
  return load_error(json);
}

}  // namespace

TEST_SUITE("tokenizer errors") {
  TEST_CASE("the small file itself is fine") {
    TempFolder folder;
    folder.write("tokenizer.json", small().dump());
    CHECK(Tokenizer::load(folder.path)->encode("ab<x>a") == std::vector<TokenId>{2, 3, 0});
  }

  TEST_CASE("a file cut at any byte") {
    const std::string whole = small().dump();
    for (size_t length = 0; length < whole.size(); ++length) {
      check_error(load_error(whole.substr(0, length)), "not valid JSON");
    }
  }

  TEST_CASE("any member of a wrong type") {
    const Json values = parse_json(R"([null, true, 1.5, -1, "text", [], {}, [1], {"a": 1}])", "t");
    const Json whole = small().flatten();
    int refused = 0;
    for (const auto& [pointer, old] : whole.items()) {
      for (const Json& value : values) {
        Json broken = small();
        broken[Json::json_pointer(pointer)] = value;
        // No value may crash the reader; most are refused.
        const std::string message = load_error(broken);
        refused += message != "no error";
      }
    }
    CHECK(refused > 60);
    for (const char* key : {"model", "added_tokens", "pre_tokenizer", "normalizer", "decoder"}) {
      Json broken = small();
      broken[key] = 5;
      check_error(load_error(broken), std::string(": ") + key);
    }
  }

  TEST_CASE("ids") {
    Json json = small();
    json["model"]["vocab"]["c"] = 2;
    check_error(load_error(json), "\"ab\" and \"c\" both have id 2");
    for (const char* id : {"-1", "4194304", "18446744073709551615", "9223372036854775808"}) {
      json["model"]["vocab"]["c"] = parse_json(id, "id");
      check_error(load_error(json), "token \"c\" has id");
    }
    json["model"]["vocab"]["c"] = 2.5;
    check_error(load_error(json), "the id of token \"c\" is number");
    json = small();
    json["added_tokens"][0]["id"] = 1;
    check_error(load_error(json), "\"b\" and \"<x>\" both have id 1");
    json["added_tokens"][0]["id"] = 1e300;
    check_error(load_error(json), "added_tokens[0].id");
    json["added_tokens"][0]["id"] = 99999999;
    check_error(load_error(json), "added_tokens[0].id");
    json = small();
    json["added_tokens"].push_back({{"id", 3}, {"content", "<y>"}});
    check_error(load_error(json), "\"<x>\" and \"<y>\" both have id 3");
    std::string text = small().dump();
    text.replace(text.find("\"b\":1"), 5, "\"a\":1");
    check_error(load_error(text), "token \"a\" is listed twice");
    text = small().dump();
    text.replace(text.find("\"decoder\""), 9, "\"version\"");
    check_error(load_error(text), "\"version\" is given twice");
  }

  TEST_CASE("merges") {
    const auto with = [](const Json& merges) {
      Json json = small();
      json["model"]["merges"] = merges;
      return load_error(json);
    };
    check_error(with({"a q"}), "needs the token \"q\"");
    check_error(with({"b a"}), "needs the token \"ba\"");
    check_error(with({"ab"}), "not two tokens");
    check_error(with({"a b c"}), "not two tokens");
    check_error(with(Json::array({Json::array({"a"})})), "not two tokens");
    check_error(with(Json::array({Json::array({"a", "b", "ab"})})), "more than two tokens");
    check_error(with(Json::array({Json::array({"a", 1})})), "model.merges[0]");
    check_error(with(Json::array({Json::array({Json::array({"a"}), "b"})})), "model.merges[0]");
    check_error(with({1}), "model.merges[0]");
    check_error(with({{"a", "b"}}), "model.merges");
    check_error(with("a b"), "model.merges");
    CHECK(with(Json::array({Json::array({"a", "b"})})) == "no error");
    CHECK(with(nullptr) != "crash");
  }

  TEST_CASE("kinds and options that are not known") {
    Json json = small();
    json["model"]["type"] = "Unigram";
    check_error(load_error(json), "\"Unigram\" is not supported");
    json = small();
    json["model"]["dropout"] = 0.1;
    check_error(load_error(json), "dropout");
    json = small();
    json["model"]["unk_token"] = "<unk>";
    check_error(load_error(json), "unk_token \"<unk>\"");
    json = small();
    json["pre_tokenizer"] = {{"type", "Mystery"}};
    check_error(load_error(json), "unknown pre-tokenizer \"Mystery\"");
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Mystery"}}}}};
    check_error(load_error(json), "pretokenizers[0]: unknown pre-tokenizer");
    json = small();
    json["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", ""}};
    check_error(load_error(json), "unknown normalizer \"Precompiled\"");
    json = small();
    json["decoder"] = {{"type", "CTC"}};
    check_error(load_error(json), "unknown decoder \"CTC\"");
    json = small();
    json["pre_tokenizer"]["behavior"] = "Shredded";
    check_error(load_error(json), "unknown behavior \"Shredded\"");
    json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "ab"}};
    check_error(load_error(json), "expected one character");
  }

  TEST_CASE("deep nesting and many keys") {
    std::string deep = "{\"model\":";
    for (int i = 0; i < 100000; ++i) deep += "[";
    check_error(load_error(deep), "nested deeper");
    Json json = small();
    for (int i = 0; i < 5000; ++i) json["extra"]["k" + std::to_string(i)] = i;
    check_error(load_error(json), "more than 4096 keys");
    Json sequence = {{"type", "Lowercase"}};
    for (int i = 0; i < 40; ++i) {
      sequence = {{"type", "Sequence"}, {"normalizers", Json::array({sequence})}};
    }
    json = small();
    json["normalizer"] = sequence;
    check_error(load_error(json), "nested deeper");
  }

  TEST_CASE("regular expressions that cannot be taken") {
    check_error(regex_error("(a"), "a group without end");
    check_error(regex_error("a)"), "an unmatched )");
    check_error(regex_error("[a"), "a set without end");
    check_error(regex_error("[]"), "a set without end");
    check_error(regex_error("[z-a]"), "end comes before its start");
    check_error(regex_error("*a"), "nothing to repeat");
    check_error(regex_error("a\\"), "a backslash at its end");
    check_error(regex_error("\\p{Klingon}"), "\"klingon\"");
    check_error(regex_error("\\p{L"), "a property without end");
    check_error(regex_error("(?x) a"), "the option (?x)");
    check_error(regex_error("(?<=a+)b"), "bad regular expression");
    check_error(regex_error("\\k<n>"), "the escape \\k");
    check_error(regex_error("(*FAIL)"), "callout");
    check_error(regex_error(std::string(200, '(') + std::string(200, ')')), "nested groups");
    check_error(regex_error(std::string(70000, 'a')), "more than 65536 bytes");
    check_error(regex_error("a{100000}"), "repeat count");
  }

  TEST_CASE("a regular expression without bound is stopped") {
    TempFolder folder;
    Json json = small();
    json["pre_tokenizer"]["pattern"]["Regex"] = "(?:a|aa)+[xy]";
    folder.write("tokenizer.json", json.dump());
    const auto tokenizer = Tokenizer::load(folder.path);
    const std::string message = error_of([&] { tokenizer->encode(std::string(2000, 'a')); });
    CHECK(message.find("backtracks without bound") != std::string::npos);
    CHECK(tokenizer->encode("ab") == std::vector<TokenId>{2});  // and usable afterwards
  }

  TEST_CASE("a normalizer that multiplies the text is stopped") {
    TempFolder folder;
    Json json = small();
    const std::string many(4096, 'a');
    const Json step = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", many}};
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array({step, step, step})}};
    folder.write("tokenizer.json", json.dump());
    const auto tokenizer = Tokenizer::load(folder.path);
    const std::string message = error_of([&] { tokenizer->encode("a"); });
    CHECK(message.find("more than 1 GiB") != std::string::npos);
  }

  TEST_CASE("folders") {
    TempFolder folder;
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("no tokenizer") !=
          std::string::npos);
    folder.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
    folder.write("merges.txt", "#version: 0.2\na b\n");
    CHECK(Tokenizer::load(folder.path)->encode("ab") == std::vector<TokenId>{2});
    folder.write("merges.txt", "a b\na q\n");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("\"q\"") != std::string::npos);
    folder.write("merges.txt", "a\n");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("merges.txt:1") !=
          std::string::npos);
    folder.write("merges.txt", "a b\n");
    folder.write("vocab.json", "[1]");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("vocab.json") != std::string::npos);
    folder.write("vocab.json", R"({"a": {"b": 1}})");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("vocab.json") != std::string::npos);
    folder.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
    folder.write("tokenizer_config.json", R"({"tokenizer_class": "BloomTokenizer"})");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("BloomTokenizer") !=
          std::string::npos);
    folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "y"}}})");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("added_tokens_decoder") !=
          std::string::npos);
    folder.write("tokenizer_config.json", "{}");
    folder.write("generation_config.json", R"({"eos_token_id": "x"})");
    CHECK(error_of([&] { Tokenizer::load(folder.path); }).find("eos_token_id") !=
          std::string::npos);
  }

  TEST_CASE("SentencePiece models cut at any byte, and nonsense") {
    const std::string whole = read_file(kFixtures / "mistral-v1" / "tokenizer.model");
    TempFolder folder;
    for (const size_t length : {0, 1, 2, 3, 7, 10, 100, 1000, 4000, 493000, 493442}) {
      folder.write("tokenizer.model", whole.substr(0, length));
      const std::string message = error_of([&] { Tokenizer::load(folder.path); });
      CAPTURE(length);
      CAPTURE(message);
      CHECK(message.find("tokenizer.model") != std::string::npos);
    }
    Rng rng(3, 3);
    for (int round = 0; round < 200; ++round) {
      std::string broken = whole.substr(0, 3000);
      for (int i = 0; i < 20; ++i) {
        broken[rng.below(3000)] = static_cast<char>(rng.below(256));
      }
      folder.write("tokenizer.model", broken);
      error_of([&] { Tokenizer::load(folder.path); });  // an Error or a tokenizer, no crash
    }
  }
}
