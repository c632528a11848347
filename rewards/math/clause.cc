#include "rewards/math/clause.h"

#include <algorithm>
#include <array>

#include "core/ascii.h"
#include "rewards/math/extract_parts.h"
#include "rewards/math/lexer.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;

using ascii::is_blank;
using ascii::is_digit;
using ascii::is_letter;
using ascii::trim;
// Letters of words, with the apostrophe of "isn't" (ASCII or U+2019).
bool is_word_byte(char c) { return is_letter(c) || c == '\''; }

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// The word at `at` in lower case; empty when there is none. *end is the place behind it.
std::string word_at(std::string_view text, size_t at, size_t* end) {
  size_t i = at;
  std::string word;
  while (i < text.size()) {
    if (is_word_byte(text[i])) {
      word.push_back(is_letter(text[i]) ? static_cast<char>(text[i] | 32) : text[i]);
      ++i;
    } else if (text.substr(i).starts_with("\xE2\x80\x99")) {
      word.push_back('\'');
      i += 3;
    } else {
      break;
    }
  }
  *end = i;
  return word;
}

size_t skip_blanks(std::string_view text, size_t at) {
  while (at < text.size() && is_blank(text[at])) ++at;
  return at;
}

// A remark begins with one of these, also without a comma in front.
constexpr auto kReasons = std::to_array<std::string_view>(
    {"because", "since", "rather", "instead", "although", "though", "whereas", "not", "unlike"});
// Behind a value these begin a remark too.
constexpr auto kConditions = std::to_array<std::string_view>(
    {"when", "if", "where", "which", "whenever", "given", "so", "but", "obtained", "as", "while"});
// Behind a comma these go on with the answer.
constexpr auto kGoesOn =
    std::to_array<std::string_view>({"and", "or", "plus", "minus", "respectively"});

constexpr auto kSubjects = std::to_array<std::string_view>(
    {"it", "this", "that", "there", "we", "you", "they", "he", "she", "one"});

// "(since 6*7=42)", "(about 0.333)", "(forty-two)", "(= 0.5)": a word of prose, or a relation.
bool is_remark(std::string_view inner) {
  inner = trim(inner);
  if (inner.empty()) return false;
  for (std::string_view sign : {"=", "~", "\\approx", "\\sim", "\xE2\x89\x88", "i.e", "e.g"}) {
    if (inner.starts_with(sign)) return true;
  }
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '\\') {
      while (i + 1 < inner.size() && is_letter(inner[i + 1])) ++i;
      continue;
    }
    if (!is_letter(inner[i])) continue;
    size_t end = i;
    const std::string word = word_at(inner, i, &end);
    if (word.size() >= 2 && !is_known_name(word) && word != "and" && word != "or") return true;
    i = end;
  }
  return false;
}

size_t closing_bracket(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth == 0) return i;
  }
  return text.size();
}

// What stands behind a comma, semicolon or dash at `at` is a remark about the value before it.
bool begins_remark(std::string_view text, size_t at) {
  at = skip_blanks(text, at);
  size_t end = at;
  const std::string word = word_at(text, at, &end);
  if (one_of(word, kReasons) || one_of(word, kConditions)) return true;
  if (word.size() < 2 || is_known_name(word)) return false;
  // ", and it is easy to see": a clause with a subject of its own.
  size_t subject_end = end;
  if (word == "and" && one_of(word_at(text, skip_blanks(text, end), &subject_end), kSubjects))
    return true;
  if (one_of(word, kGoesOn)) return false;
  // ", width = 3", ", y is 5": the next member of a list.
  const size_t next = skip_blanks(text, end);
  if (next < text.size() && (text[next] == '=' || text[next] == ':')) return false;
  size_t verb_end = next;
  const std::string verb = word_at(text, next, &verb_end);
  const size_t value = skip_blanks(text, verb_end);
  const bool stated =
      verb == "is" && value < text.size() && (is_digit(text[value]) || text[value] == '$');
  return !stated;
}

// " - ", " -- " or a long dash at `at`, with blanks on both sides; its length, 0 when none.
size_t dash_at(std::string_view text, size_t at) {
  if (at == 0 || !is_blank(text[at - 1])) return 0;
  for (std::string_view dash : {"--", "-", "\xE2\x80\x93", "\xE2\x80\x94"}) {
    if (text.substr(at).starts_with(dash) && at + dash.size() < text.size() &&
        is_blank(text[at + dash.size()]))
      return dash.size();
  }
  return 0;
}

}  // namespace

std::string_view answer_clause(std::string_view text) {
  bool value = false;  // digits, a formula or a lone capital letter came before
  int depth = 0;
  bool formula = false;
  const auto cut = [&](size_t at) {
    std::string_view clause = trim(text.substr(0, at));
    while (!clause.empty() &&
           (clause.back() == ',' || clause.back() == ';' || is_blank(clause.back())))
      clause.remove_suffix(1);
    if (clause.ends_with(" and") || clause.ends_with(" but"))
      clause = trim(clause.substr(0, clause.size() - 4));
    return clause.empty() ? text : clause;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '$') formula = !formula;
    if (c == '$' || c == '\\') value = true;
    if (c == '\\') {
      while (i + 1 < text.size() && is_letter(text[i + 1])) ++i;
      continue;
    }
    if (formula) continue;
    if (c == '(' && depth == 0 && value && i > 0 && is_blank(text[i - 1])) {
      const size_t close = closing_bracket(text, i);
      if (is_remark(text.substr(i + 1, close - i - 1))) return cut(i);
    }
    if (c == '(' || c == '[' || c == '{') ++depth;
    if ((c == ')' || c == ']' || c == '}') && depth > 0) --depth;
    if (depth > 0) continue;
    if (is_digit(c)) {
      value = true;
    } else if (text.substr(i).starts_with("\xEF\xBC\x8C") && value) {  // a full-width comma
      const size_t next = i + 3;
      if (next < text.size() && !is_digit(text[next]) && text[next] != '-' && text[next] != '$')
        return cut(i);
    } else if ((c == ',' || c == ';') && i + 1 < text.size()) {
      size_t end = 0;
      const std::string word = word_at(text, skip_blanks(text, i + 1), &end);
      if (value ? begins_remark(text, i + 1) : one_of(word, kReasons) || word == "which")
        return cut(i);
    } else if (const size_t dash = dash_at(text, i); dash > 0 && value) {
      if (begins_remark(text, i + dash)) return cut(i);
    } else if (is_letter(c)) {
      size_t end = i;
      const std::string word = word_at(text, i, &end);
      const bool starts = i == 0 || is_blank(text[i - 1]);
      if (starts && i > 0 && (one_of(word, kReasons) || (value && one_of(word, kConditions))))
        return cut(i);
      if (word.size() == 1 && c < 'a') value = true;
      i = end - 1;
    }
  }
  return text;
}

namespace {

// The same word, whatever the case; U+2019 counts as an apostrophe.
bool is_word(std::string_view text, std::string_view lower) {
  if (text.size() == lower.size()) {
    for (size_t i = 0; i < lower.size(); ++i) {
      const char c = text[i];
      if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 32) : c) != lower[i]) return false;
    }
    return true;
  }
  if (text.size() != lower.size() + 2) return false;
  const size_t mark = lower.find('\'');
  return mark != kNpos && is_word(text.substr(0, mark), lower.substr(0, mark)) &&
         text.substr(mark, 3) == "\xE2\x80\x99" &&
         is_word(text.substr(mark + 3), lower.substr(mark + 1));
}

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::any_of(list.begin(), list.end(),
                     [&](std::string_view w) { return is_word(word, w); });
}

constexpr size_t kLastWords = 6;

// The last words of a text, the last one first, up to a digit, a mark that ends a clause, or
// another script.
struct LastWords {
  std::array<std::string_view, kLastWords> words;
  size_t count = 0;

  explicit LastWords(std::string_view text) {
    size_t end = text.size();
    while (count < kLastWords) {
      while (end > 0 && std::string_view(" \t\r*$:(\"=").find(text[end - 1]) != kNpos) --end;
      size_t begin = end;
      while (begin > 0 &&
             (is_word_byte(text[begin - 1]) || text.substr(0, begin).ends_with("\xE2\x80\x99")))
        begin -= is_word_byte(text[begin - 1]) ? 1 : 3;
      if (begin == end) break;
      words[count++] = text.substr(begin, end - begin);
      end = begin;
    }
  }
};

// "between 23 and" in front of 24
bool ends_in_range(std::string_view lead) {
  lead = trim(lead);
  if (!lead.ends_with("and")) return false;
  const std::string tail = lower_case(lead.substr(lead.size() - std::min<size_t>(lead.size(), 40)));
  const size_t at = tail.rfind("between ");
  return at != std::string::npos &&
         std::string_view(tail).substr(at + 8).find_first_not_of("0123456789.,$-+ /and") == kNpos;
}

}  // namespace

bool denies(std::string_view lead) {
  static constexpr auto kDenials = std::to_array<std::string_view>(
      {"not",      "never",     "neither", "nor",   "cannot",  "except", "without", "isnt",
       "cant",     "wont",      "isn't",   "can't", "won't",   "wasn't", "doesn't", "couldn't",
       "wouldn't", "shouldn't", "aren't",  "don't", "mustn't", "didn't", "hasn't",  "weren't"});
  static constexpr auto kBreaks = std::to_array<std::string_view>(
      {"but", "so", "therefore", "thus", "hence", "instead", "because", "since", "then", "only"});
  static constexpr auto kAllBut =
      std::to_array<std::string_view>({"anything", "everything", "nothing", "all", "none"});
  static constexpr auto kThan =
      std::to_array<std::string_view>({"less", "more", "greater", "fewer", "smaller", "larger",
                                       "bigger", "higher", "lower", "other"});
  static constexpr auto kOf =
      std::to_array<std::string_view>({"short", "multiple", "multiples", "factor", "divisor"});
  static constexpr auto kFillers =
      std::to_array<std::string_view>({"a", "the", "about", "exactly"});
  lead = trim(lead);
  if (lead.empty()) return false;
  if (static_cast<unsigned char>(lead.back()) >= 0x80) {
    for (std::string_view chinese :
         {"\xE4\xB8\x8D\xE6\x98\xAF", "\xE4\xB8\x8D\xE4\xB8\xBA",
          "\xE4\xB8\x8D\xE7\xAD\x89\xE4\xBA\x8E", "\xE5\xB9\xB6\xE9\x9D\x9E"}) {
      if (lead.ends_with(chinese)) return true;
    }
  }
  if (ends_in_range(lead)) return true;
  const LastWords last(lead);
  if (last.count == 0) return false;
  const auto word = [&](size_t i) { return i < last.count ? last.words[i] : std::string_view(); };
  for (size_t i = 0; i < last.count && i < 5; ++i) {
    if (is_word(word(i), "but") && is_one_of(word(i + 1), kAllBut)) return true;
    if (is_one_of(word(i), kBreaks)) break;
    if (is_one_of(word(i), kDenials)) return true;
  }
  size_t first = 0;
  while (first < last.count && is_one_of(word(first), kFillers)) ++first;
  const std::string_view before = word(first + 1);
  static constexpr auto kExceeds =
      std::to_array<std::string_view>({"exceeds", "exceed", "exceeding"});
  if (is_one_of(word(first), kExceeds)) return true;
  // "is below", not "the formula above"
  static constexpr auto kBounds =
      std::to_array<std::string_view>({"below", "above", "under", "beneath", "beyond"});
  static constexpr auto kBe = std::to_array<std::string_view>(
      {"is", "be", "are", "was", "were", "lies", "stays", "remains", "just", "well", "strictly"});
  if (is_one_of(word(first), kBounds)) return is_one_of(before, kBe);
  if (is_word(word(first), "than")) return is_one_of(before, kThan);
  if (is_word(word(first), "of")) return is_one_of(before, kOf);
  if (is_word(word(first), "most") || is_word(word(first), "least")) return is_word(before, "at");
  if (is_word(word(first), "to")) return is_word(before, "up");
  if (is_word(word(first), "by")) return is_word(before, "divisible");
  return is_word(word(first), "from") && is_word(before, "different");
}

namespace {

// Reads words of a text one after the other.
class Words {
 public:
  explicit Words(std::string_view text) : text_(text) { find_next(0); }
  // Passes the words of `phrase` when they come next.
  bool accept(std::string_view phrase) {
    // Most phrases fail at their first letter.
    if (next_.empty() || (next_[0] | 32) != phrase[0]) return false;
    const std::string_view before = next_;
    while (!phrase.empty()) {
      const size_t blank = phrase.find(' ');
      if (!is_word(next_, phrase.substr(0, blank))) {
        next_ = before;
        return false;
      }
      phrase = blank == kNpos ? std::string_view() : phrase.substr(blank + 1);
      find_next(static_cast<size_t>(next_.data() - text_.data()) + next_.size());
    }
    return true;
  }
  template <size_t N>
  bool accept_any(const std::array<std::string_view, N>& phrases) {
    return std::any_of(phrases.begin(), phrases.end(),
                       [&](std::string_view p) { return accept(p); });
  }

 private:
  bool is_part(size_t at) const {
    return is_word_byte(text_[at]) || text_.substr(at, 3) == "\xE2\x80\x99";
  }
  // A digit in front of the next word stands in its way.
  void find_next(size_t at) {
    while (at < text_.size() && !is_part(at) && !is_digit(text_[at])) ++at;
    size_t end = at;
    while (end < text_.size() && is_part(end)) end += is_word_byte(text_[end]) ? 1 : 3;
    next_ = text_.substr(at, end - at);
  }
  std::string_view text_, next_;
};

}  // namespace

bool takes_back(std::string_view rest) {
  rest = rest.substr(0, 160);
  const size_t first = rest.find_first_not_of(" \n\t$*\\.");
  if (first == kNpos || rest.size() - first < 5) return false;
  static constexpr auto kOpeners = std::to_array<std::string_view>(
      {"but", "and", "no", "wait", "hmm", "however", "although", "though", "actually", "sorry",
       "oops", "oh", "i know", "i realize", "i realise", "unfortunately"});
  static constexpr auto kSubjects = std::to_array<std::string_view>(
      {"which", "this answer", "that answer", "the answer", "my answer", "this result",
       "the result", "this value", "that value", "this", "that", "it"});
  static constexpr auto kVerbs =
      std::to_array<std::string_view>({"is", "was", "seems to be", "seems", "looks", "must be",
                                       "has to be", "has been", "turned out to be"});
  static constexpr auto kAdverbs = std::to_array<std::string_view>(
      {"clearly", "obviously", "definitely", "certainly", "actually", "just", "also", "completely",
       "simply", "all", "plainly", "totally", "of course"});
  static constexpr auto kWrong = std::to_array<std::string_view>(
      {"wrong", "incorrect", "false", "mistaken", "a mistake", "an error", "invalid", "nonsense",
       "impossible", "not correct", "not right", "not true", "not valid", "not the answer",
       "not the right", "not the correct", "not my", "not possible"});
  static constexpr auto kDenied =
      std::to_array<std::string_view>({"isn't", "wasn't", "can't be", "cannot be", "can not be"});
  static constexpr auto kRight = std::to_array<std::string_view>(
      {"right", "correct", "true", "the answer", "the right", "the correct", "valid", "possible"});
  if (rest[first] == '?') {  // "42? No, 41."
    static constexpr auto kNo = std::to_array<std::string_view>({"no", "nope", "wrong"});
    return Words(rest.substr(first + 1)).accept_any(kNo);
  }
  Words words(rest);
  const bool bracket = rest[first] == '(' || rest[first] == '[';
  if (bracket && words.accept_any(kWrong)) return true;
  for (int i = 0; i < 3 && words.accept_any(kOpeners); ++i) {
  }
  if (words.accept("i don't think") || words.accept("i do not think")) {
    (void)words.accept_any(kSubjects);
    return words.accept("is") && words.accept_any(kRight);
  }
  (void)words.accept_any(kSubjects);
  if (words.accept_any(kDenied)) return words.accept_any(kRight);
  if (!words.accept("that's") && !words.accept("it's") && !words.accept_any(kVerbs)) return false;
  while (words.accept_any(kAdverbs)) {
  }
  return words.accept_any(kWrong);
}

std::vector<std::string> alternatives(std::string_view text, size_t begin, std::string_view last) {
  std::vector<std::string> values{std::string(last)};
  bool either = false;
  std::string_view head = text.substr(0, begin);
  while (values.size() < 16) {
    head = trim(head);
    // The name in "x = 2 or x = 3".
    if (head.ends_with('=')) {
      head = trim(head.substr(0, head.size() - 1));
      while (!head.empty() &&
             (is_letter(head.back()) || is_digit(head.back()) || head.back() == '_'))
        head.remove_suffix(1);
      head = trim(head);
    }
    bool joined = false;
    if (head.ends_with(" or") || head.ends_with(",or")) {
      either = joined = true;
      head = trim(head.substr(0, head.size() - 2));
    }
    if (head.ends_with(",")) {
      joined = true;
      head = trim(head.substr(0, head.size() - 1));
    }
    if (!joined) break;
    size_t at = head.size();
    while (at > 0 && (is_digit(head[at - 1]) || head[at - 1] == '.' || head[at - 1] == '/')) --at;
    if (at > 0 && head[at - 1] == '-' && (at == 1 || is_blank(head[at - 2]) || head[at - 2] == '='))
      --at;
    const std::string_view value = head.substr(at);
    if (value.empty() || !is_digit(value.back())) break;
    values.insert(values.begin(), std::string(value));
    head = head.substr(0, at);
  }
  if (!either || values.size() < 2) return {};
  return values;
}

}  // namespace zeroth::math
