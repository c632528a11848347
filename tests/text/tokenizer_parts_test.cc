// The parts of a tokenizer: Unicode, expressions, merging.
#include <doctest/doctest.h>

#include <map>

#include "core/rng.h"
#include "tests/text/tokenizer_support.h"
#include "text/bpe.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_regex.h"
#include "text/tokenizer_unicode.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

using Strings = std::vector<std::string>;

Strings found(const std::string& pattern, const std::string& text) {
  std::vector<Span> spans;
  Regex::compile(pattern, "test").find_all(text, spans);
  Strings out;
  for (const Span& span : spans) out.push_back(text.substr(span.begin, span.end - span.begin));
  return out;
}

// Merging as the paper words it: again and again the best-ranked adjacent pair, leftmost first.
std::vector<std::string> merge_slowly(std::vector<std::string> symbols, const Bpe::Merges& merges) {
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[merges[i]] = i;
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks.find({symbols[i], symbols[i + 1]});
      if (it != ranks.end() && it->second < best) best = it->second, at = i;
    }
    if (best == merges.size()) return symbols;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<long>(at) + 1);
  }
}

}  // namespace

TEST_SUITE("tokenizer parts") {
  TEST_CASE("UTF-8: only well-formed characters") {
    CHECK(decode_utf8("A").code == 'A');
    CHECK(decode_utf8("\xc2\x80").code == 0x80);
    CHECK(decode_utf8("\xef\xbf\xbf").code == 0xffff);
    CHECK(decode_utf8("\xf4\x8f\xbf\xbf").code == 0x10ffff);
    for (const char* bad : {"\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
                            "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
      CHECK(decode_utf8(bad).length == 0);
    }
    CHECK(decode_utf8("").length == 0);
    for (CodePoint c = 0; c <= 0x10ffff; c += c < 0x11000 ? 1 : 97) {
      if (c >= 0xd800 && c <= 0xdfff) continue;
      std::string text;
      append_utf8(text, c);
      const Utf8Char back = decode_utf8(text);
      REQUIRE(back.code == c);
      REQUIRE(back.length == static_cast<int>(text.size()));
    }
  }

  TEST_CASE("ill-formed bytes: one U+FFFD a maximal subpart (Unicode 15.0, table 3-8)") {
    const std::string r = "\xef\xbf\xbd";
    CHECK(replace_invalid_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41") ==
          r + r + r + r + r + r + r + r + "A");
    CHECK(replace_invalid_utf8("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41") ==
          r + r + r + r + r + r + r + r + "A");
    CHECK(replace_invalid_utf8("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42") ==
          r + r + r + r + r + "A" + r + r + "B");
    CHECK(replace_invalid_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41") == r + r + r + r + "A");
    CHECK(replace_invalid_utf8("\xe2\x82") == r);
  }

  TEST_CASE("normal forms, also of hostile runs of marks") {
    CHECK(normalize_utf8("e\xcc\x81", NormalForm::kNfc) == "\xc3\xa9");
    CHECK(normalize_utf8("\xc3\xa9", NormalForm::kNfd) == "e\xcc\x81");
    CHECK(normalize_utf8("\xef\xac\x81", NormalForm::kNfkc) == "fi");
    CHECK(normalize_utf8("\xef\xac\x81", NormalForm::kNfc) == "\xef\xac\x81");
    CHECK(normalize_utf8("\xed\x95\x9c", NormalForm::kNfd) ==
          "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab");
    std::string marks = "q", above, below;
    for (int i = 0; i < 100'000; ++i) {
      marks += "\xcc\x81\xcc\xa3";
      above += "\xcc\x81";
      below += "\xcc\xa3";
    }
    CHECK(normalize_utf8(marks, NormalForm::kNfd) == "q" + below + above);
  }

  TEST_CASE("bytes and their characters") {
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    std::string back;
    CHECK(append_from_byte_level(to_byte_level(all), back));
    CHECK(back == all);
    CHECK(to_byte_level(" \n!") == "\xc4\xa0\xc4\x8a!");
    std::string kept = "x";
    CHECK(!append_from_byte_level("\xc4\xa0\xe4\xb8\xad", kept));
    CHECK(kept == "x");
  }

  TEST_CASE("expressions mean what they mean in Oniguruma") {
    CHECK(found("\\h+", "xyz12 \tff") == Strings{"12", "ff"});  // hexadecimal digits
    CHECK(found("a{2}+", "aaaaaa") == Strings{"aaaaaa"});       // greedy, not possessive
    CHECK(found("(?:a{2}+)b", "aaab") == Strings{"aab"});
    CHECK(found("a{,2}", "aaa") == Strings{"aa", "a"});
    CHECK(found("[a-z&&[^c]]+", "abcde") == Strings{"ab", "de"});
    CHECK(found("[a[bc]]+", "abcd") == Strings{"abc"});
    CHECK(found("[^a&&b]", "abc") == Strings{"a", "b", "c"});
    CHECK(found("a(?i)b|c", "aB aC C") == Strings{"aB", "aC"});
    CHECK(found("^a", "a\na ba") == Strings{"a", "a"});
    CHECK(found("\\s", "\xe1\xa0\x8e \xc2\x85") == Strings{" ", "\xc2\x85"});  // not U+180E
    CHECK(found("[^\\s]", "\xe1\xa0\x8e ") == Strings{"\xe1\xa0\x8e"});
    CHECK(found("\\p{^L}", "a1") == Strings{"1"});
    CHECK(found("[\\P{L}x]", "ax1") == Strings{"x", "1"});
    CHECK(found("(?m:a.b)", "a\nb") == Strings{"a\nb"});
    CHECK(found("\\x41\\u00e9\\x{e9}", "A\xc3\xa9\xc3\xa9") == Strings{"A\xc3\xa9\xc3\xa9"});
    CHECK(found("[]a]+", "a]") == Strings{"a]"});
    CHECK(found("(?<name>a)(?#c)b", "ab") == Strings{"ab"});
    CHECK(found("\\Qa.b\\E+", "a.ba.bab") == Strings{"a.ba.b"});
    CHECK(found("x*", "axb") == Strings{"", "x", ""});
    // Letters, digits and Han characters that Unicode added after version 14.
    CHECK(found("\\p{Lu}", "\xea\x9f\x8b") == Strings{"\xea\x9f\x8b"});
    CHECK(found("\\p{N}+", "\xf0\x90\xb5\x80") == Strings{"\xf0\x90\xb5\x80"});
    CHECK(found("\\p{Han}", "\xf0\xb1\x8d\x90\xe3\x80\x81") == Strings{"\xf0\xb1\x8d\x90"});
    CHECK(found("\\p{Cn}", "\xea\x9f\x8b").empty());
  }

  TEST_CASE("the heap merges like the definition") {
    Rng rng(5, 5);
    for (int round = 0; round < 60; ++round) {
      const std::string letters = "abc";
      Vocabulary vocabulary;
      Strings spellings;
      for (char c : letters) {
        spellings.emplace_back(1, c);
        vocabulary.add(spellings.back(), vocabulary.size(), "test");
      }
      Bpe::Merges merges;
      for (int i = 0; i < 30; ++i) {
        const std::string a = spellings[rng.below(static_cast<uint32_t>(spellings.size()))];
        const std::string b = spellings[rng.below(static_cast<uint32_t>(spellings.size()))];
        if (std::find(merges.begin(), merges.end(), std::pair(a, b)) != merges.end()) continue;
        merges.emplace_back(a, b);
        if (vocabulary.find(a + b) >= 0) continue;
        vocabulary.add(a + b, vocabulary.size(), "test");
        spellings.push_back(a + b);
      }
      const Bpe bpe(vocabulary, merges, {}, "test");
      for (int i = 0; i < 40; ++i) {
        std::string word;
        Strings symbols;
        for (uint32_t n = 1 + rng.below(40); n > 0; --n) {
          symbols.emplace_back(1, letters[rng.below(3)]);
          word += symbols.back();
        }
        std::vector<TokenId> ids;
        bpe.encode(word, ids);
        Strings got;
        for (const TokenId id : ids) got.push_back(bpe.vocabulary().spelling(id));
        CHECK(got == merge_slowly(symbols, merges));
      }
    }
  }

  TEST_CASE("unknown characters: dropped, one by one, fused, or as bytes") {
    const auto encode = [](const char* unk, bool fuse, bool bytes, const std::string& text) {
      Vocabulary vocabulary;
      for (const char* spelling : {"a", "<unk>", "<0xC3>", "<0xA9>"}) {
        vocabulary.add(spelling, vocabulary.size(), "test");
      }
      BpeOptions options;
      options.unk_token = unk;
      options.fuse_unk = fuse;
      options.byte_fallback = bytes;
      std::vector<TokenId> ids;
      Bpe(std::move(vocabulary), {}, options, "test").encode(text, ids);
      return ids;
    };
    using Ids = std::vector<TokenId>;
    CHECK(encode("", false, false, "axya") == Ids{0, 0});
    CHECK(encode("<unk>", false, false, "axya") == Ids{0, 1, 1, 0});
    CHECK(encode("<unk>", true, false, "axya") == Ids{0, 1, 0});
    CHECK(encode("<unk>", false, true, "a\xc3\xa9x") == Ids{0, 2, 3, 1});
  }
}
