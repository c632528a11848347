#include "tasks/builtin/code_fences.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "rewards/format.h"

namespace zeroth {
namespace {

using Language = FencedBlock::Language;

size_t run_of(std::string_view text, size_t at, char c) {
  size_t n = 0;
  while (at + n < text.size() && text[at + n] == c) ++n;
  return n;
}

Language language_of(std::string_view info) {
  std::string name;
  for (const char c : info) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '#' || c == '-')
      name += lower;
    else if (!name.empty())
      break;
    else if (c != ' ' && c != '\t' && c != '{' && c != '.')
      return Language::kOther;
  }
  if (name.empty()) return Language::kNone;
  for (const char* python : {"python", "python3", "python2", "py", "py3", "ipython", "sage"}) {
    if (name == python) return Language::kPython;
  }
  for (const char* cpp : {"cpp", "c++", "cc", "cxx", "c"}) {
    if (name == cpp) return Language::kCpp;
  }
  return Language::kOther;
}

// An opening fence in a line: where it stands, of what, how many, and what follows it.
struct Fence {
  size_t at = std::string_view::npos, length = 0;
  char mark = '`';
  std::string_view info;
  explicit operator bool() const { return length >= 3; }
};

Fence opening(std::string_view line) {
  for (const char mark : {'`', '~'}) {
    const size_t at = line.find(std::string(3, mark));
    if (at == std::string_view::npos) continue;
    // Tildes open only at the start of a line: in the middle they are prose.
    if (mark == '~' && !trim(line.substr(0, at)).empty()) continue;
    const size_t length = run_of(line, at, mark);
    return {at, length, mark, trim(line.substr(at + length))};
  }
  return {};
}

// Follows Python's triple quotes from line to line.
class Quotes {
 public:
  bool open() const { return mark_ != 0; }
  char mark() const { return mark_; }
  void feed(std::string_view line) {
    for (size_t at = 0; at < line.size();) {
      const char c = line[at];
      if (mark_ != 0) {
        if (c == '\\') {
          at += 2;
        } else if (c == mark_ && triple(line, at)) {
          mark_ = 0;
          at += 3;
        } else {
          ++at;
        }
        continue;
      }
      if (c == '#') return;
      if (c != '"' && c != '\'') {
        ++at;
        continue;
      }
      if (triple(line, at)) {
        mark_ = c;
        at += 3;
        continue;
      }
      for (++at; at < line.size() && line[at] != c; ++at) {
        if (line[at] == '\\') ++at;
      }
      ++at;
    }
  }

 private:
  static bool triple(std::string_view line, size_t at) {
    return at + 2 < line.size() && line[at + 1] == line[at] && line[at + 2] == line[at];
  }
  char mark_ = 0;
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : lines_(lines_of(text)) {
    // For every line, whether a triple quote of either kind and then a fence follow it.
    follows_.resize(lines_.size() + 1);
    bool fence = false;
    std::array<bool, 2> quote{};
    for (size_t i = lines_.size(); i-- > 0;) {
      follows_[i] = quote;
      const std::string_view line = lines_[i];
      if (fence && line.find("\"\"\"") != std::string_view::npos) quote[0] = true;
      if (fence && line.find("'''") != std::string_view::npos) quote[1] = true;
      const std::string_view start = trim(line);
      fence |= start.starts_with("```") || start.starts_with("~~~");
    }
  }

  std::vector<FencedBlock> run() {
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (fence_)
        inside(i);
      else
        outside(lines_[i]);
    }
    finish(false);
    return std::move(blocks_);
  }

 private:
  void outside(std::string_view line) {
    const Fence fence = opening(line);
    // A fence and its end in one line: a short program, or words in fences.
    const size_t end =
        fence ? line.find(std::string(fence.length, fence.mark), fence.at + fence.length)
              : std::string_view::npos;
    if (!fence ||
        (end == std::string_view::npos && fence.info.find('`') != std::string_view::npos)) {
      add(line);
      return;
    }
    add(line.substr(0, fence.at));
    finish(false);
    fence_ = fence;
    indent_ = is_margin(line.substr(0, fence.at)) ? fence.at : 0;
    current_.fenced = true;
    if (end == std::string_view::npos) {
      current_.language = language_of(fence.info);
      return;
    }
    std::string_view inner = line.substr(fence.at + fence.length, end - fence.at - fence.length);
    const size_t word = inner.find(' ');
    if (word != std::string_view::npos && word > 0 &&
        language_of(inner.substr(0, word)) != Language::kOther) {
      current_.language = language_of(inner.substr(0, word));
      inner.remove_prefix(word + 1);
    }
    add(inner);
    finish(true);
    add(line.substr(end + fence.length));
  }

  void inside(size_t i) {
    const std::string_view line = lines_[i];
    const std::string_view start = trim(line);
    const size_t length = start.empty() ? 0 : run_of(start, 0, fence_.mark);
    const bool code =
        current_.language == Language::kPython || current_.language == Language::kNone;
    const bool quoted = code && quotes_.open() && follows_[i][quotes_.mark() == '"' ? 0 : 1];
    const size_t depth = line.size() - trim_left(line).size();
    if (length >= fence_.length && !quoted && depth < indent_ + 4) {
      const std::string_view info = trim(start.substr(length));
      finish(true);
      // The end that was forgotten: another block starts here.
      if (!info.empty() && language_of(info) != Language::kOther &&
          info.find(' ') == std::string_view::npos)
        outside(line);
      else
        add(info);
      return;
    }
    if (!quoted && start.size() > fence_.length &&
        start.ends_with(std::string(fence_.length, fence_.mark)) && !quotes_.open()) {
      add(dedented(line.substr(0, line.find_last_not_of(" \t") + 1 - fence_.length)));
      finish(true);
      return;
    }
    quotes_.feed(line);
    add(dedented(line));
  }

  // Blanks, quote marks, the mark of a list: what the lines of the block are indented by. Words
  // before a fence are not.
  static bool is_margin(std::string_view before) {
    std::string_view mark = trim(before);
    while (!mark.empty() && mark.front() == '>') mark = trim(mark.substr(1));
    if (mark.size() == 1 && std::string_view("-*+").find(mark[0]) != std::string_view::npos)
      return true;
    if (mark.ends_with('.') || mark.ends_with(')')) mark.remove_suffix(1);
    return mark.find_first_not_of("0123456789") == std::string_view::npos;
  }

  static std::string_view trim_left(std::string_view line) {
    return line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
  }

  std::string_view dedented(std::string_view line) const {
    size_t n = 0;
    while (n < indent_ && n < line.size() && (line[n] == ' ' || line[n] == '\t' || line[n] == '>'))
      ++n;
    return line.substr(n);
  }

  void add(std::string_view line) {
    current_.text += line;
    current_.text += '\n';
  }

  void finish(bool closed) {
    current_.closed = closed;
    if (current_.fenced || !trim(current_.text).empty()) blocks_.push_back(std::move(current_));
    current_ = FencedBlock();
    current_.fenced = false;
    fence_ = {};
    indent_ = 0;
    quotes_ = {};
  }

  const std::vector<std::string_view> lines_;
  std::vector<std::array<bool, 2>> follows_;
  std::vector<FencedBlock> blocks_;
  FencedBlock current_{{}, {}, false, false};
  Fence fence_;
  size_t indent_ = 0;
  Quotes quotes_;
};

}  // namespace

std::vector<FencedBlock> fenced_blocks(std::string_view text) { return Splitter(text).run(); }

}  // namespace zeroth
