#include "tasks/builtin/code_extract.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "tasks/builtin/code_fences.h"

namespace zeroth {
namespace {

using Language = FencedBlock::Language;

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

size_t count(std::string_view text, std::string_view tag) {
  size_t n = 0;
  for (size_t at = text.find(tag); at != std::string_view::npos;
       at = text.find(tag, at + tag.size()))
    ++n;
  return n;
}

// `word` as a whole word of `text`, from `at` on.
size_t find_word(std::string_view text, std::string_view word, size_t at = 0) {
  for (at = text.find(word, at); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool left = at == 0 || !word_char(text[at - 1]);
    const bool right = at + word.size() >= text.size() || !word_char(text[at + word.size()]);
    if (left && right) return at;
  }
  return at;
}

template <class Use>
void for_lines(std::string_view text, const Use& use) {
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    use(text.substr(at, end - at));
    at = end + 1;
  }
}

std::string_view name_at(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && word_char(text[n])) ++n;
  return text.substr(0, n);
}

std::string_view without_blanks(std::string_view line) {
  return line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
}

// The name that a line of Python defines: def, class, or an assignment.
std::string_view defined_name(std::string_view line) {
  line = without_blanks(line);
  if (line.starts_with("async ")) line = without_blanks(line.substr(6));
  for (const std::string_view keyword : {"def ", "class "}) {
    if (line.starts_with(keyword)) return name_at(without_blanks(line.substr(keyword.size())));
  }
  const std::string_view name = name_at(line);
  std::string_view rest = without_blanks(line.substr(name.size()));
  if (rest.starts_with(':')) rest = rest.substr(std::min(rest.find('='), rest.size()));
  const bool assigns = rest.size() > 1 && rest[0] == '=' && rest[1] != '=';
  return assigns ? name : std::string_view();
}

// Calls use(name) for every name that a line at the left margin brings in.
template <class Use>
void for_names(std::string_view line, const Use& use) {
  const size_t list = line.starts_with("import ") ? 7
                      : line.starts_with("from ") && line.find(" import ") != std::string_view::npos
                          ? line.find(" import ") + 8
                          : std::string_view::npos;
  if (list == std::string_view::npos) {
    if (const std::string_view name = defined_name(line); !name.empty()) use(name);
    return;
  }
  for (size_t at = list; at < line.size();) {
    const size_t end = std::min(line.find(',', at), line.size());
    std::string_view item = trim(line.substr(at, end - at));
    if (const size_t as = item.find(" as "); as != std::string_view::npos)
      item = trim(item.substr(as + 4));
    if (const std::string_view name = name_at(item); !name.empty()) use(name);
    at = end + 1;
  }
}

bool imports(std::string_view text, std::string_view name) {
  bool found = false;
  for_lines(text, [&](std::string_view line) {
    if (line.starts_with("import ") || line.starts_with("from "))
      for_names(line, [&](std::string_view one) { found |= one == name; });
  });
  return found;
}

bool defines(std::string_view text, std::string_view entry) {
  // Solution().twoSum is a method of a class.
  if (const size_t dot = entry.rfind('.'); dot != std::string_view::npos)
    entry = entry.substr(dot + 1);
  bool found = false;
  for_lines(text,
            [&](std::string_view line) { found |= !entry.empty() && defined_name(line) == entry; });
  return found;
}

bool any_word(std::string_view text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) {
    return find_word(text, word) != std::string_view::npos;
  });
}

bool reads(std::string_view text) {
  return any_word(text, {"input", "stdin"}) || text.find("open(0") != std::string_view::npos ||
         text.find("os.read(0") != std::string_view::npos;
}

bool writes(std::string_view text) {
  return any_word(text, {"print", "stdout"}) || text.find("os.write(1") != std::string_view::npos;
}

bool starts_like_python(std::string_view line) {
  for (const char* start : {"def ", "class ", "import ", "from ", "@", "async def ", "if __name__",
                            "#!", "# ", "for ", "while ", "try:", "with ", "print("}) {
    if (line.starts_with(start)) {
      // "from here on" and "for example" are prose.
      const std::string_view keyword(start);
      if (keyword == "from ") return line.find(" import ") != std::string_view::npos;
      if (keyword == "for " || keyword == "while " || keyword == "with " || keyword == "class ")
        return trim(line).ends_with(':');
      return true;
    }
  }
  return !line.empty() && !defined_name(line).empty() && line[0] != ' ' && line[0] != '\t';
}

// A line of words: "Here is the program.", "`f` adds one:", "here it is:".
bool is_prose(std::string_view line) {
  if (line.empty() || line.find(' ') == std::string_view::npos || starts_like_python(line))
    return false;
  if (std::isupper(static_cast<unsigned char>(line[0])) || line[0] == '`' || line[0] == '*')
    return true;
  static constexpr std::string_view kKeywords[] = {
      "if",     "elif", "else",  "return", "assert", "raise", "global", "del",   "yield",
      "lambda", "not",  "async", "for",    "while",  "with",  "except", "match", "case"};
  const bool keyword =
      std::find(std::begin(kKeywords), std::end(kKeywords), name_at(line)) != std::end(kKeywords);
  return !keyword && std::islower(static_cast<unsigned char>(line[0])) &&
         (trim(line).ends_with(':') || trim(line).ends_with('.')) &&
         line.find_first_of("()=[]\"'") == std::string_view::npos;
}

// A text without fences: prose before the first line of code and after the last one is left out.
std::string without_prose(std::string_view text) {
  std::vector<std::string_view> lines;
  for_lines(text, [&](std::string_view line) { lines.push_back(line); });
  size_t begin = 0, end = lines.size();
  while (begin < end && trim(lines[begin]).empty()) ++begin;
  if (begin == end) return {};
  if (!is_prose(lines[begin])) return std::string(text);
  size_t first = begin;
  while (first < end && !starts_like_python(lines[first])) ++first;
  if (first == end) return std::string(text);
  while (end > first + 1) {
    const std::string_view line = lines[end - 1];
    const std::string_view words = trim(line);
    const bool sentence = !words.empty() && line[0] != ' ' && line[0] != '\t' &&
                          std::isupper(static_cast<unsigned char>(words[0])) &&
                          words.find(' ') != std::string_view::npos && !starts_like_python(line) &&
                          words.find('(') == std::string_view::npos;
    if (!words.empty() && !sentence) break;
    --end;
  }
  std::string program;
  for (size_t i = first; i < end; ++i) program.append(lines[i]).append("\n");
  return program;
}

// Lines shifted left by what all of them are indented by.
std::string dedent(const std::string& text) {
  size_t least = std::string::npos;
  for_lines(text, [&](std::string_view line) {
    if (!trim(line).empty()) least = std::min(least, line.size() - without_blanks(line).size());
  });
  if (least == 0 || least == std::string::npos) return text;
  std::string out;
  for_lines(text, [&](std::string_view line) {
    out.append(line.substr(std::min(least, line.size()))).append("\n");
  });
  return out;
}

// The body of a function, with an indentation in case it lost that of its first line, or all.
std::string body(const std::string& text) {
  size_t begin = 0;
  while (begin < text.size() &&
         trim(std::string_view(text).substr(begin, text.find('\n', begin) - begin)).empty() &&
         text.find('\n', begin) != std::string::npos)
    begin = text.find('\n', begin) + 1;
  if (begin >= text.size() || text[begin] == ' ' || text[begin] == '\t') return text.substr(begin);
  const std::string_view head = name_at(std::string_view(text).substr(begin));
  if (head == "def" || head == "class" || head == "import" || head == "from" || head == "async" ||
      text[begin] == '@')
    return text.substr(begin);
  std::string_view rest = std::string_view(text).substr(begin);
  while (rest.ends_with('\n')) rest.remove_suffix(1);
  bool others = false;
  size_t number = 0;
  for_lines(rest, [&](std::string_view line) {
    others |= number++ > 0 && !line.empty() && (line[0] == ' ' || line[0] == '\t');
  });
  std::string out;
  number = 0;
  for_lines(rest, [&](std::string_view line) {
    const bool shift = !trim(line).empty() && (number == 0 || !others);
    out.append(shift ? "    " : "").append(line).append("\n");
    ++number;
  });
  return out;
}

// Where the answer stands; false when there is none.
bool answer_text(std::string_view completion, const FormatRules& rules, std::string_view& text) {
  const size_t opens = count(completion, "<think>") + (rules.think_opened ? 1 : 0);
  if (opens > count(completion, "</think>")) return false;  // thinking never ends
  text = completion;
  const size_t close = text.rfind("</think>");
  if (close != std::string_view::npos) text.remove_prefix(close + 8);
  if (text.find("<think>") != std::string_view::npos) return false;  // it starts again
  const size_t open = text.find("<answer>");
  if (open == std::string_view::npos) return true;
  if (text.find("<answer>", open + 8) != std::string_view::npos) return false;  // a hedge
  text.remove_prefix(open + 8);
  text = text.substr(0, text.find("</answer>"));
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  return true;
}

class Chooser {
 public:
  Chooser(std::vector<FencedBlock> blocks, const ProgramShape& shape)
      : blocks_(std::move(blocks)), shape_(shape) {
    const Language wanted = shape.language == "cpp" ? Language::kCpp : Language::kPython;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const FencedBlock& block = blocks_[i];
      if (trim(block.text).empty()) continue;
      if (!block.fenced)
        between_.push_back(i);
      else if (block.language == wanted)
        tagged_.push_back(i);
      else if (block.language == Language::kNone)
        bare_.push_back(i);
      else
        others_.push_back(i);
    }
  }

  // Index of the block that is the answer; -1 when there is no block at all.
  int choose() const {
    if (shape_.program) {
      const bool cpp = shape_.language == "cpp";
      for (const auto& good : {+[](std::string_view t) { return reads(t) && writes(t); },
                               +[](std::string_view t) { return writes(t); }}) {
        for (const auto* group : {&tagged_, &bare_}) {
          if (const int at = last(*group,
                                  [&](std::string_view t) {
                                    return cpp ? find_word(t, "main") != std::string_view::npos
                                               : good(t);
                                  });
              at >= 0)
            return at;
        }
      }
    } else if (!shape_.entry.empty()) {
      const auto good = [&](std::string_view t) { return defines(t, shape_.entry); };
      for (const auto* group : {&tagged_, &bare_, &others_, &between_}) {
        if (const int at = last(*group, good); at >= 0) return at;
      }
    }
    for (const auto* group : {&tagged_, &bare_}) {
      if (!group->empty()) return static_cast<int>(group->back());
    }
    return -1;
  }

  // The block with the definitions of earlier ones that it uses.
  std::string program(int chosen) const {
    constexpr int kMostHelpers = 16;
    constexpr size_t kMostBytes = 1 << 15;  // a bound of the search, far above what anybody writes
    std::string text = dedent_if_needed(blocks_[static_cast<size_t>(chosen)].text);
    int left = kMostHelpers;
    for (auto at = tagged_.rbegin(); at != tagged_.rend() && left > 0; ++at) {
      if (static_cast<int>(*at) >= chosen) continue;
      --left;
      if (text.size() > kMostBytes || blocks_[*at].text.size() > kMostBytes / 4) continue;
      const std::string earlier = dedent(blocks_[*at].text);
      if (!shape_.entry.empty() && defines(earlier, shape_.entry)) continue;
      if (shape_.program && reads(earlier)) continue;
      bool used = false;
      for_lines(earlier, [&](std::string_view line) {
        if (line.empty() || line[0] == ' ' || line[0] == '\t') return;
        for_names(line, [&](std::string_view name) {
          used = used || (find_word(text, name) != std::string_view::npos && !defines(text, name) &&
                          !imports(text, name));
        });
      });
      if (used) text = earlier + "\n" + text;
    }
    return text;
  }

 private:
  template <class Good>
  int last(const std::vector<size_t>& group, const Good& good) const {
    for (auto at = group.rbegin(); at != group.rend(); ++at) {
      if (good(blocks_[*at].text)) return static_cast<int>(*at);
    }
    return -1;
  }

  std::string dedent_if_needed(const std::string& text) const {
    const bool bare_body = !shape_.prompt.empty() && !defines(text, shape_.entry);
    return bare_body ? text : dedent(text);
  }

  const std::vector<FencedBlock> blocks_;
  const ProgramShape& shape_;
  std::vector<size_t> tagged_, bare_, others_, between_;
};

}  // namespace

std::string extract_program(std::string_view completion, const FormatRules& rules,
                            const ProgramShape& shape) {
  std::string_view text;
  if (!answer_text(completion, rules, text)) return {};
  if (const size_t mark = text.find("\xEF\xBB\xBF"); mark == 0) text.remove_prefix(3);
  // The answer comes trimmed, but the indentation of its first line belongs to the program.
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  const size_t line = text.rfind('\n', first);
  text.remove_prefix(line == std::string_view::npos ? first : line + 1);

  std::vector<FencedBlock> blocks = fenced_blocks(text);
  const bool any = std::any_of(blocks.begin(), blocks.end(), [](const FencedBlock& b) {
    return b.fenced && !trim(b.text).empty();
  });
  std::string program;
  if (any) {
    const Chooser chooser(std::move(blocks), shape);
    const int chosen = chooser.choose();
    if (chosen < 0) return {};
    program = chooser.program(chosen);
  } else if (blocks.size() == 1 && !blocks[0].fenced) {
    program = shape.language == "cpp" ? std::string(text) : without_prose(text);
  } else {
    // Fences around nothing: what stands beside them is the program.
    for (const FencedBlock& block : blocks) {
      if (!block.fenced) program += block.text;
    }
  }
  const bool complete =
      shape.entry.empty() || shape.prompt.empty() || defines(program, shape.entry);
  return complete ? program : shape.prompt + body(program);
}

}  // namespace zeroth
