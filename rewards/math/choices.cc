#include "rewards/math/choices.h"

#include <algorithm>

#include "rewards/math/lexer_words.h"

namespace zeroth::math {

namespace {

bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

// " - the rate doubles", " (a circle)": words about the letter before them.
bool remark_follows(std::string_view text, size_t at) {
  if (at + 3 >= text.size() || text[at] != ' ') return false;
  at = text.find_first_not_of(' ', at);
  if (at == std::string_view::npos || (text[at] != '-' && text[at] != '(')) return false;
  const bool dash = text[at] == '-';
  at = text.find_first_not_of('-', at + (dash ? 0 : 1));
  if (at == std::string_view::npos || (dash && text[at] != ' ')) return false;
  at = text.find_first_not_of(' ', at);
  // Two words, or one that ends the remark.
  size_t letters = 0;
  while (at < text.size() && ((text[at] | 32) >= 'a' && (text[at] | 32) <= 'z')) ++at, ++letters;
  return letters > 0 && at < text.size() && text[at] == ' ' && at + 1 < text.size() &&
         ((text[at + 1] | 32) >= 'a' && (text[at + 1] | 32) <= 'z');
}

}  // namespace

char spelled_choice(std::string_view raw) {
  std::string text;
  for (size_t i = 0; i < raw.size() && text.size() < 400; ++i) {
    if (raw[i] == '\\') {  // commands of fonts and spacing
      const size_t begin = i + 1;
      while (i + 1 < raw.size() && ((raw[i + 1] | 32) >= 'a' && (raw[i + 1] | 32) <= 'z')) ++i;
      const std::string_view name = raw.substr(begin, i + 1 - begin);
      const bool blank = text.find_first_not_of(' ') == std::string::npos;
      if (blank && !name.empty() && !is_text_command(name) && !is_font_command(name)) return 0;
      if (name.empty() && begin < raw.size() && raw[begin] == '{') return 0;  // a set
      text += ' ';
    } else if (raw[i] != '{' && raw[i] != '}' && raw[i] != '$' && raw[i] != '*') {
      text += raw[i];
    }
  }
  auto marked = [&](size_t i) {  // "(B)", or "B" at the rim of a word with a mark behind it
    if (i >= text.size() || !is_capital(text[i])) return false;
    // "A: 12", not "A:B = 1"
    bool closed = i + 1 < text.size() &&
                  (text[i + 1] == ')' || ((text[i + 1] == '.' || text[i + 1] == ':') &&
                                          (i + 2 == text.size() || text[i + 2] == ' ')));
    bool opened = i == 0 || text[i - 1] == ' ' || text[i - 1] == '(';
    return closed && opened;
  };
  size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return 0;
  if (text[first] != '(' && is_capital(text[first]) && remark_follows(text, first + 1))
    return text[first];
  if (text[first] == '(') ++first;
  if (!marked(first)) return 0;
  // "(A)+1" is an expression, "(A) or .." two choices.
  size_t next = text.find_first_not_of(' ', first + 2);
  if (next != std::string::npos) {
    if (std::string_view("+-*/^=<>!,_").find(text[next]) != std::string_view::npos) return 0;
    for (std::string_view word : {"or ", "and "}) {
      if (std::string_view(text).substr(next).starts_with(word)) return 0;
    }
  }
  for (size_t i = first + 1; i < text.size(); ++i) {
    if (marked(i)) return 0;
  }
  for (std::string_view word : {" or ", " and ", ", "}) {
    size_t at = text.find(word);
    if (at != std::string::npos && at + word.size() + 1 == text.size() && is_capital(text.back()))
      return 0;
  }
  return text[first];
}

std::string_view behind_choice(std::string_view raw) {
  const auto skip = [&](std::string_view what) {
    if (!raw.starts_with(what)) return false;
    raw.remove_prefix(what.size());
    return true;
  };
  const auto blanks = [&] {
    while (skip(" ") || skip("\\ ") || skip("~") || skip("\\;") || skip("\\,") || skip("\\quad")) {
    }
  };
  bool group = false;
  for (std::string_view command : {"\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{", "\\textrm{"}) {
    if (skip(command)) {
      group = true;
      break;
    }
  }
  const bool bracket = skip("(");
  if (raw.size() < 2 || raw[0] < 'A' || raw[0] > 'J') return {};
  raw.remove_prefix(1);
  // "(B) 12", "B) 12", "B. 12": a mark, and a blank or the end of the group behind it.
  if (!skip(")") && (bracket || !group || !skip("."))) return {};
  if (group) {
    (void)skip(".");
    blanks();
    if (!skip("}")) return {};
  } else if (!raw.starts_with(" ") && !raw.starts_with("\\") && !raw.starts_with("~")) {
    return {};
  }
  blanks();
  return raw;
}

namespace {

// A circled figure at the start of the text, 0 without.
int circled(std::string_view text) {
  if (!text.starts_with("\xE2\x91") || text.size() < 3) return 0;
  const int code = static_cast<unsigned char>(text[2]) - 0xA0 + 1;
  return code >= 1 && code <= 20 ? code : 0;
}

}  // namespace

std::vector<int> statement_numbers(std::string_view text, bool gold) {
  std::vector<int> numbers;
  bool marked = false;  // circled, or in brackets of its own
  while (!text.empty() && numbers.size() < 40) {
    if (std::string_view(" ,;$\n").find(text.front()) != std::string_view::npos) {
      text.remove_prefix(1);
      continue;
    }
    bool separator = false;
    for (std::string_view word :
         {"\xE3\x80\x81", "\xEF\xBC\x8C", "and", "\\text{", "}", "\xE5\x92\x8C"}) {
      if (!text.starts_with(word)) continue;
      text.remove_prefix(word.size());
      separator = true;
      break;
    }
    if (separator) continue;
    if (const int number = circled(text); number > 0) {
      numbers.push_back(number);
      text.remove_prefix(3);
      marked = true;
      continue;
    }
    const bool open = text.front() == '(';
    size_t at = open ? 1 : 0;
    int number = 0;
    const size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - first < 2)
      number = number * 10 + (text[at++] - '0');
    if (at == first || (open && (at >= text.size() || text[at] != ')'))) return {};
    if (!open && (gold || (at < text.size() && text[at] >= '0' && text[at] <= '9'))) return {};
    marked |= open;
    numbers.push_back(number);
    text.remove_prefix(at + (open ? 1 : 0));
  }
  if (!text.empty() || (gold && !marked)) return {};
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace zeroth::math
