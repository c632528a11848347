// Phrases that announce an answer: "the final answer is", "Answer:", "#### ".
#include <algorithm>
#include <array>
#include <cstring>

#include "core/ascii.h"
#include "rewards/math/clause.h"
#include "rewards/math/extract_parts.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;

using ascii::is_blank;
using ascii::is_digit;
using ascii::is_letter;
using ascii::starts_ignoring_case;
using ascii::trim;

// A full stop that ends no sentence: "Rs. 5", "approx. 5", "i.e. 5".
bool abbreviates(std::string_view text, size_t dot) {
  size_t begin = dot;
  while (begin > 0 && is_letter(text[begin - 1])) --begin;
  const std::string word = lower_case(text.substr(begin, dot - begin));
  for (std::string_view known :
       {"rs", "approx", "no", "ca", "i", "e", "g", "p", "m", "sq", "cu", "vs"}) {
    if (word == known)
      return word.size() > 1 || (begin > 0 && text[begin - 1] == '.') ||
             (dot + 1 < text.size() && is_letter(text[dot + 1]));
  }
  return false;
}

// The rest of the sentence after an anchor, without marks of emphasis and the closing formula of
// few-shot prompts. `*whole` gets all of the text that may still comment on it.
std::string_view sentence_after(std::string_view text, size_t pos, std::string_view* comment) {
  std::string_view rest = text.substr(pos, 300);
  size_t hope = rest.find("I hope");
  if (hope != kNpos) rest = rest.substr(0, hope);
  while (!rest.empty() && (is_blank(rest.front()) || rest.front() == ':' || rest.front() == '*' ||
                           rest.front() == '='))
    rest.remove_prefix(1);
  const std::string_view all = rest;
  size_t line = rest.find('\n');
  if (line != kNpos) rest = rest.substr(0, line);
  for (size_t i = 0; i < rest.size(); ++i) {
    const bool stop =
        (rest[i] == '.' && i + 1 < rest.size() && is_blank(rest[i + 1]) && !abbreviates(rest, i)) ||
        (rest[i] == '?' && i + 1 < rest.size() && is_blank(rest[i + 1])) ||
        rest.substr(i).starts_with("\xE3\x80\x82");  // an ideographic full stop
    if (stop) {
      rest = rest.substr(0, i);
      break;
    }
  }
  size_t tag = rest.find("<|");
  if (tag != kNpos) rest = rest.substr(0, tag);
  *comment = all.substr(rest.size());
  rest = trim(rest);
  while (!rest.empty() && (rest.back() == '.' || rest.back() == '*' || rest.back() == '"'))
    rest.remove_suffix(1);
  while (!rest.empty() && rest.front() == '"') rest.remove_prefix(1);
  return trim(rest);
}

// The place of the first value of a sentence: a digit, a formula, a box or a lone capital.
size_t first_value(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_digit(c) || c == '$' || c == '\\') return i;
    const bool lone = c >= 'A' && c <= 'Z' && i > 0 && !is_letter(text[i - 1]) &&
                      (i + 1 == text.size() || !is_letter(text[i + 1]));
    if (lone && c != 'I') return i;
  }
  return text.size();
}

void deny(std::string_view sentence, std::vector<Candidate>* out) {
  out->push_back({"not " + std::string(sentence), false, false, true});
}

// Formulas that "," "and" "or" join to number `first`, as one list.
std::string formulas_from(std::string_view text, const std::vector<Formula>& formulas, size_t first,
                          size_t* end) {
  size_t last = first;
  while (last + 1 < formulas.size() && last - first < 5) {
    std::string_view between =
        trim(text.substr(formulas[last].end, formulas[last + 1].begin - formulas[last].end));
    if (between != "," && between != "and" && between != "or" && between != ", and" &&
        between != ", or" && between != "\xE6\x88\x96" && between != "\xE5\x92\x8C")
      break;
    ++last;
  }
  std::string joined;
  for (size_t i = first; i <= last; ++i) {
    if (!joined.empty()) joined += ", ";
    joined += formulas[i].content;
  }
  *end = formulas[last].end;
  return joined;
}

struct Anchor {
  size_t pos = 0;      // behind the phrase
  size_t reach = 50;   // a formula that begins within is the answer
  bool words = false;  // an answer without digits counts
};

// What stands after an anchor: a formula within reach, or the sentence.
bool read_anchor(std::string_view text, const std::vector<Formula>& formulas, Anchor anchor,
                 bool expr, std::vector<Candidate>* out) {
  std::string_view comment;
  std::string_view sentence = sentence_after(text, anchor.pos, &comment);
  if (denies(sentence.substr(0, first_value(sentence)))) {
    // "not 41 but 42"
    const size_t but = sentence.find(" but ");
    if (but == kNpos) {
      deny(sentence, out);
      return true;
    }
    anchor.pos = static_cast<size_t>(sentence.data() - text.data()) + but + 5;
    sentence = sentence_after(text, anchor.pos, &comment);
  }
  auto it = std::lower_bound(formulas.begin(), formulas.end(), anchor.pos,
                             [](const Formula& f, size_t p) { return f.begin < p; });
  std::string_view lead = text.substr(anchor.pos, 12);  // marks aside, what comes first
  while (!lead.empty() && (is_blank(lead.front()) || lead.front() == ':' || lead.front() == '*'))
    lead.remove_prefix(1);
  // "is 3, since $3^2 = 9$": the number comes before the formula.
  const bool number_first = expr && !lead.empty() && is_digit(lead.front());
  if (it != formulas.end() && it->begin <= anchor.pos + anchor.reach && !number_first) {
    size_t end = 0;
    std::string joined =
        formulas_from(text, formulas, static_cast<size_t>(it - formulas.begin()), &end);
    if (takes_back(text.substr(end))) {
      deny(joined, out);
    } else {
      out->push_back({std::move(joined), false});
    }
    return true;
  }
  if (!expr || sentence.empty()) return false;
  const std::string_view clause = answer_clause(sentence);
  const bool digits = count_digits(clause) > 0;
  if (!digits && !anchor.words) return false;
  if (takes_back(sentence.substr(clause.size())) || takes_back(comment)) {
    deny(clause, out);
    return true;
  }
  prose_numbers(clause, out);
  if (out->empty() && anchor.words) out->push_back({std::string(clause), false});
  return !out->empty();
}

// Places behind "answer", and behind its Chinese word when the text is not ASCII, last first.
std::vector<size_t> answer_words(std::string_view text) {
  std::vector<size_t> anchors;
  for (size_t at = find_last_ignoring_case(text, "answer"); at != kNpos && anchors.size() < 30;
       at = at == 0 ? kNpos : find_last_ignoring_case(text, "answer", at - 1)) {
    anchors.push_back(at + 6);
  }
  const std::string_view chinese = "\xE7\xAD\x94\xE6\xA1\x88";
  if (text.find(chinese) != kNpos) {
    size_t count = 0;
    for (size_t at = text.rfind(chinese); at != kNpos && count < 30;
         at = at == 0 ? kNpos : text.rfind(chinese, at - 1), ++count)
      anchors.push_back(at + chinese.size());
    std::sort(anchors.rbegin(), anchors.rend());
  }
  return anchors;
}

// Length of "is", ":" and their Chinese forms at `pos`; 0 without.
size_t chinese_is(std::string_view text, size_t pos) {
  static constexpr auto kForms = std::to_array<std::string_view>(
      {"\xE5\xBA\x94\xE8\xAF\xA5\xE6\x98\xAF", "\xE5\xBA\x94\xE4\xB8\xBA",
       "\xE5\x8D\xB3\xE4\xB8\xBA", "\xE7\xAD\x89\xE4\xBA\x8E", "\xE6\x98\xAF\xEF\xBC\x9A",
       "\xE4\xB8\xBA\xEF\xBC\x9A", "\xE6\x98\xAF:", "\xE4\xB8\xBA:", "\xE6\x98\xAF", "\xE4\xB8\xBA",
       "\xE7\x82\xBA", "\xEF\xBC\x9A", "\xE3\x80\x91"});
  for (std::string_view form : kForms) {
    if (text.substr(pos).starts_with(form)) return form.size();
  }
  return 0;
}

// "The correct option is (E)", "I would choose E".
void choice_anchors(std::string_view text, const std::vector<Formula>& formulas, bool expr,
                    std::vector<Candidate>* out) {
  static constexpr auto kPhrases = std::to_array<std::string_view>(
      {"option is", "choice is", "options are", "choices are",
       "option:", "choice:", "choose option", "choose", "select option", "select", "pick", "it is",
       "it's", "must be", "\xE6\x95\x85\xE9\x80\x89", "\xE9\x80\x89"});
  const size_t from = text.size() - std::min<size_t>(text.size(), 1000);  // a closing sentence
  for (std::string_view phrase : kPhrases) {
    size_t at = find_last_ignoring_case(text.substr(from), phrase);
    if (at == kNpos) continue;
    at += from;
    std::string_view rest = trim(text.substr(at + phrase.size(), 40));
    while (!rest.empty() && std::strchr("*(\\$:", rest.front()) != nullptr) rest.remove_prefix(1);
    if (rest.starts_with("text{") || rest.starts_with("textbf{"))
      rest.remove_prefix(rest.find('{') + 1);
    while (rest.starts_with("(")) rest.remove_prefix(1);
    const bool letter = !rest.empty() && rest[0] >= 'A' && rest[0] <= 'Z' &&
                        (rest.size() == 1 || !is_letter(rest[1]));
    if (letter && read_anchor(text, formulas, {at + phrase.size(), 6, true}, expr, out)) return;
  }
}

}  // namespace

size_t answer_line(std::string_view text) {
  size_t found = kNpos;
  const size_t marks = text.rfind("####");
  if (marks != kNpos && (marks == 0 || text[marks - 1] == '\n')) {
    const std::string_view line = trim(text.substr(marks + 4, 80));
    // Headings such as "#### Step 1" begin with a word.
    if (!line.empty() && (is_digit(line[0]) || std::strchr("-+.$\\", line[0]) != nullptr))
      found = marks + 4;
  }
  for (size_t at = find_last_ignoring_case(text, "answer"); at != kNpos;
       at = at == 0 ? kNpos : find_last_ignoring_case(text, "answer", at - 1)) {
    if (found != kNpos && at < found) break;
    size_t behind = at + 6;
    while (behind < text.size() && (text[behind] == '*' || text[behind] == ' ')) ++behind;
    if (behind >= text.size() || text[behind] != ':') continue;
    size_t line = at;
    while (line > 0 && at - line <= 30 && text[line - 1] != '\n') --line;
    if (at - line > 30) continue;
    const std::string head = lower_case(text.substr(line, at - line));
    const bool mark = std::all_of(head.begin(), head.end(), [](char c) { return !is_letter(c); }) ||
                      head.find("final") != std::string::npos ||
                      head.find("correct") != std::string::npos;
    const std::string_view rest = trim(text.substr(behind + 1, 40));
    if (mark && !rest.empty()) return behind + 1;
  }
  return found;
}

void anchored_candidates(std::string_view text, const std::vector<Formula>& formulas, bool expr,
                         std::vector<Candidate>* out) {
  const size_t marks = text.rfind("####");
  if (expr && marks != kNpos) {
    const size_t line = answer_line(text.substr(marks));
    if (line == 4) {  // "#### 42": the rest of its line
      const size_t end = std::min(text.find('\n', marks), marks + 200);
      const std::string_view value = trim(text.substr(marks + 4, end - marks - 4));
      prose_numbers(answer_clause(value), out);
      if (!out->empty()) return;
    }
  }
  const std::vector<size_t> anchors = answer_words(text);  // from the last to the first
  // "final answer .. is X", then "answer: X", then "answer .. X".
  for (size_t at : anchors) {
    if (at < 12 || !starts_ignoring_case(text, at - 12, "final ")) continue;
    std::string_view window = text.substr(at, 110);
    window = window.substr(0, window.find("I hope"));
    for (size_t is = window.find(" is"); is != kNpos; is = window.find(" is", is + 1)) {
      char next = is + 3 < window.size() ? window[is + 3] : '\0';
      if (next != ' ' && next != ':' && next != '\n') continue;
      if (read_anchor(text, formulas, {at + is + 3, 3, true}, expr, out)) return;
    }
  }
  for (size_t at : anchors) {
    size_t pos = at;
    while (pos < text.size() && text[pos] == '*') ++pos;
    const size_t chinese = chinese_is(text, pos);
    const size_t colon = pos < text.size() && text[pos] == ':' ? 1 : chinese;
    if (colon > 0 && read_anchor(text, formulas, {pos + colon, 50, true}, expr, out)) return;
  }
  for (size_t at : anchors) {
    // " is", and not " isn't", which belongs to what follows
    const bool is = starts_ignoring_case(text, at, " is") &&
                    (at + 3 >= text.size() || !is_letter(text[at + 3]));
    // "the answers are 2 and 3"
    const bool are = starts_ignoring_case(text, at, "s are");
    if (read_anchor(text, formulas, {at + (is ? 3u : are ? 5u : 0u), 50, is || are}, expr, out))
      return;
  }
  choice_anchors(text, formulas, expr, out);
}

// A control, or the mark that stands for bytes which are no text, at `at`: what stands before it is
// not a whole number.
bool joins_nothing(std::string_view text, size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  return (byte < 0x20 && !is_blank(text[at])) || byte == 0x7f ||
         text.substr(at).starts_with("\xEF\xBF\xBD");
}

void prose_numbers(std::string_view clause, std::vector<Candidate>* out) {
  const int words = count_words(clause);
  if (words < 4) out->push_back({std::string(clause), false, true});
  // The number that the clause begins with, up to the first word.
  size_t begin = 0;
  while (begin < clause.size() && std::strchr("$*\"= ", clause[begin]) != nullptr) ++begin;
  const bool number_first =
      begin < clause.size() &&
      (is_digit(clause[begin]) ||
       ((clause[begin] == '-' || clause[begin] == '.' || clause[begin] == '+') &&
        begin + 1 < clause.size() && is_digit(clause[begin + 1])));
  if (number_first) {
    size_t end = begin;
    while (end < clause.size() &&
           (is_digit(clause[end]) || std::strchr(".,+-*/^() %=", clause[end]) != nullptr))
      ++end;
    if (end < clause.size() && joins_nothing(clause, end)) return;
    std::string_view run = trim(clause.substr(begin, end - begin));
    while (!run.empty() && !is_digit(run.back()) && run.back() != ')' && run.back() != '%')
      run.remove_suffix(1);
    if (!run.empty()) {
      const bool more = clause.substr(begin + run.size()).find(" or ") != kNpos;
      if (!more) {
        out->push_back({std::string(run), true});
        return;
      }
    }
  }
  push_last_number(clause, out);
}

void push_last_number(std::string_view text, std::vector<Candidate>* out) {
  size_t begin = 0;
  std::vector<std::string> numbers = last_numbers(text, &begin);
  if (numbers.empty()) return;
  if (denies(text.substr(0, begin)) || takes_back(text.substr(begin + numbers.front().size()))) {
    deny(text.substr(begin, 100), out);
    return;
  }
  const std::vector<std::string> choices = alternatives(text, begin, numbers.front());
  if (!choices.empty()) {
    std::string list;
    for (const std::string& value : choices) list += (list.empty() ? "" : "; ") + value;
    out->push_back({std::move(list), true});
    return;
  }
  for (std::string& number : numbers) out->push_back({std::move(number), true});
}

}  // namespace zeroth::math
