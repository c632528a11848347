#include "scan/word_lists.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>

#include "core/ascii.h"
#include "core/config.h"
#include "core/error.h"
#include "core/terminal.h"

namespace zeroth {
namespace {

using ascii::lower;

// Letters and digits of any script, and the underscore.
bool is_word_character(char32_t c) {
  if (c < 0x80) return std::isalnum(static_cast<int>(c)) || c == '_';
  // glibc's own Unicode tables; the process may run in any locale.
  static const locale_t unicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (c == 0xFFFFFFFF) return false;
  return unicode == nullptr || ::iswalnum_l(static_cast<wint_t>(c), unicode) != 0;
}

char32_t character_before(std::string_view text, size_t at) {
  size_t start = at - 1;
  while (start > 0 && at - start < 4 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) {
    --start;
  }
  return next_character(text, start);
}

bool whole_word(std::string_view text, size_t begin, size_t end) {
  size_t after = end;
  return (begin == 0 || !is_word_character(character_before(text, begin))) &&
         (end == text.size() || !is_word_character(next_character(text, after)));
}

// The end of the fenced code block that opens at `at`.
size_t fence_end(std::string_view text, size_t at) {
  const size_t close = text.find("```", at + 3);
  return close == std::string_view::npos ? text.size() : close + 3;
}

}  // namespace

const std::vector<WordList>& built_in_word_lists() {
  static const std::vector<WordList> lists = {
      {"r1-nature",
       1,
       "DeepSeek-R1, Nature 2025, Extended Data Fig. 1",
       true,
       {"wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate",
        "check"}},
      {"oat-zero",
       1,
       "oat-zero, self-reflection keywords",
       true,
       {"recheck", "rethink", "reevaluate", "re-evaluate", "reevaluation", "re-examine",
        "reexamine", "try again", "check again", "think again", "go over the steps"}},
      {"drgrpo",
       1,
       "Dr. GRPO (understand-r1-zero), self-reflection keywords",
       true,
       {"recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine",
        "reexamine", "reconsider", "reanalyze", "double-check", "check again", "think again",
        "verify again", "go over the steps"}},
      {"verification",
       1,
       "after arXiv 2503.01307; own patterns",
       false,
       {"check", "let me check", "let's check", "verify", "verifying", "double-check", "make sure",
        "plug", "substitute back", "confirm", "is correct", "matches"}},
      {"backtracking",
       1,
       "after arXiv 2503.01307; own patterns",
       false,
       {"wait", "instead", "try again", "try another", "another approach", "another way",
        "doesn't work", "does not work", "not right", "that's wrong", "this is wrong", "go back",
        "start over", "scratch that", "backtrack"}},
      {"subgoal",
       1,
       "after arXiv 2503.01307; own patterns",
       false,
       {"first", "step 1", "step 2", "next", "then", "break down", "we need to find", "let's find",
        "now find", "subgoal"}},
      {"backward-chaining",
       1,
       "after arXiv 2503.01307; own patterns",
       false,
       {"work backward", "work backwards", "working backward", "working backwards",
        "start from the target", "starting from the target", "in order to get", "in order to reach",
        "to get to", "we would need", "we'd need"}},
  };
  return lists;
}

WordList read_word_list(const std::filesystem::path& path) {
  const Json json = read_json_file(path);
  const auto bad = [&](const std::string& what) {
    fail_usage("word list " + path.string() + ": " + what,
               R"(write {"name": "mine", "version": 1, "words": ["hmm", "on second thought"]})");
  };
  if (!json.is_object()) bad("is no JSON object");
  WordList list;
  for (const auto& [key, value] : json.items()) {
    if (key == "name" && value.is_string()) {
      list.name = value.get<std::string>();
    } else if (key == "version" && value.is_number_integer()) {
      list.version = value.get<int>();
    } else if (key == "reflection" && value.is_boolean()) {
      list.reflection = value.get<bool>();
    } else if (key == "source" && value.is_string()) {
      list.source = value.get<std::string>();
    } else if (key == "words" && value.is_array()) {
      for (const Json& word : value) {
        if (!word.is_string() || word.get<std::string>().empty())
          bad("a word is no text: " + word.dump());
        list.words.push_back(lower(word.get<std::string>()));
      }
    } else {
      bad("field \"" + key + "\" is unknown or of the wrong type");
    }
  }
  if (list.name.empty()) bad("has no \"name\"");
  if (list.words.empty()) bad("has no \"words\"");
  for (const WordList& known : built_in_word_lists()) {
    if (known.name == list.name) bad("the name \"" + list.name + "\" is a built-in list's");
  }
  return list;
}

WordMatcher::WordMatcher(std::vector<WordList> lists) : lists_(std::move(lists)) {
  for (size_t i = 0; i < lists_.size(); ++i) {
    for (const std::string& word : lists_[i].words) {
      by_first_[static_cast<unsigned char>(word[0])].push_back({word, static_cast<uint16_t>(i)});
    }
  }
}

std::vector<WordHit> WordMatcher::find(std::string_view text) const {
  std::vector<WordHit> hits;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '`' && text.substr(at, 3) == "```") {
      at = fence_end(text, at) - 1;
      continue;
    }
    for (const Entry& entry : by_first_[static_cast<unsigned char>(lower(text[at]))]) {
      const size_t size = entry.word.size();
      if (size > text.size() - at) continue;
      size_t same = 1;
      while (same < size && lower(text[at + same]) == entry.word[same]) ++same;
      if (same < size) continue;
      hits.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + size), entry.list,
                      whole_word(text, at, at + size)});
    }
  }
  return hits;
}

}  // namespace zeroth
