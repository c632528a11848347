#include "rewards/math/same_text.h"

#include <algorithm>
#include <array>

#include "core/ascii.h"
#include "rewards/math/extract_parts.h"

namespace zeroth::math {

namespace {

using ascii::is_letter;

// "B", "(B)", "option B", "B is correct", "B) 42" for the letter b, whose case does not count.
bool names_choice(std::string_view text, const std::string& letter) {
  for (std::string_view prefix :
       {"option", "choice", "answer", "theansweris", "u+6545u+9009", "u+9009"}) {
    if (text.starts_with(prefix) && text.size() > prefix.size()) text.remove_prefix(prefix.size());
  }
  if (text.starts_with('(')) text.remove_prefix(1);
  if (text.empty() || lower_case(text.substr(0, 1)) != lower_case(letter)) return false;
  text.remove_prefix(1);
  for (std::string_view suffix : {"iscorrect", "isright", "istheanswer", "isthecorrectanswer",
                                  "isthecorrectoption", "isthecorrectchoice"}) {
    if (text == suffix) return true;
  }
  return text.empty() || text[0] == ')' || text[0] == ':';
}

// The letters of one member, in capitals; '?' for what has none.
std::string letters_of_member(const Pool& pool, Ref member) {
  if (pool.is(member, Op::kSymbol)) return pool.name(member);
  if (!pool.is(member, Op::kText)) return "?";
  std::string letters;
  for (const char c : pool.name(member)) {
    if (c != '(' && c != ')') letters += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  }
  return letters;
}

// "Yes it is" without a comma.
bool affirms_in_one(const std::string& word, const std::string& text) {
  for (std::string_view phrase :
       {"yesit", "yesthey", "yesthere", "yesthis", "yeswe", "noit", "nothey"}) {
    if (text.starts_with(phrase) && text.size() > phrase.size() &&
        word == phrase.substr(0, phrase[0] == 'y' ? 3 : 2))
      return true;
  }
  return false;
}

bool is_verdict(const std::string& word) {
  return word == "yes" || word == "no" || word == "true" || word == "false";
}

}  // namespace

std::string spelling(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kText:
      return pool.name(ref);
    case Op::kSymbol:
      return pool.name(ref).size() > 1 ? lower_case(pool.name(ref)) : pool.name(ref);
    case Op::kEuler:
      return "e";
    case Op::kImaginary:
      return "i";
    case Op::kMul: {
      std::string all;
      for (Ref kid : pool.children(ref)) {
        if (!pool.is(kid, Op::kSymbol) && !pool.is(kid, Op::kEuler) &&
            !pool.is(kid, Op::kImaginary))
          return {};
        all += spelling(pool, kid);
      }
      return lower_case(all);
    }
    default:
      return {};
  }
}

bool same_text(const Pool& pool, Ref gold, Ref pred) {
  const std::string g = spelling(pool, gold), p = spelling(pool, pred);
  if (g.empty()) return false;
  if (!p.empty() && (g == p || lower_case(g) == lower_case(p))) return true;
  return g.size() == 1 && is_letter(g[0]) && pool.is(pred, Op::kText) && names_choice(p, g);
}

std::string choice_letters(const Pool& pool, Ref ref) {
  std::string letters;
  switch (pool[ref].op) {
    case Op::kList:
    case Op::kSet:
    case Op::kMul:
      if (pool[ref].count > 10) return {};
      for (Ref kid : pool.children(ref)) letters += letters_of_member(pool, kid);
      break;
    case Op::kText:
      letters = letters_of_member(pool, ref);
      break;
    default:
      return {};
  }
  if (letters.size() < 2 || letters.size() > 10) return {};
  std::sort(letters.begin(), letters.end());
  const bool choices = letters.front() >= 'A' && letters.back() <= 'J' &&
                       std::adjacent_find(letters.begin(), letters.end()) == letters.end();
  return choices ? letters : std::string();
}

bool affirms(const Pool& pool, Ref gold, Ref pred) {
  const std::string& word = pool.name(gold);
  if (pool.is(pred, Op::kText)) return affirms_in_one(word, pool.name(pred));
  if (!pool.is(pred, Op::kList) || !is_verdict(word)) return false;
  for (int i = 0; i < pool[pred].count; ++i) {
    const Ref member = pool.child(pred, i);
    if (!pool.is(member, Op::kText)) return false;
    if (i == 0 ? pool.name(member) != word : is_verdict(pool.name(member))) return false;
  }
  return true;
}

}  // namespace zeroth::math
