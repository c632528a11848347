#include "inspect/query.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/config.h"
#include "core/terminal.h"
#include "inspect/trace_index.h"
#include "record/trace_store.h"

namespace zeroth {
namespace {

constexpr size_t kMaxQuery = 4096;
constexpr int kMaxTerms = 100;
constexpr int kMaxDepth = 20;
// A reward of 1.1 is a sum of parts: equality means to the digits that people write.
constexpr double kSame = 1e-6;
// Stands for the number of the sample until it is known which table gives it.
constexpr char kId[] = "{id}";

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; }

// What unicode61 keeps in a token, near enough: the phrase is compared with the text afterwards
// anyway.
bool is_token(char32_t c) {
  return (c < 0x80 && std::isalnum(static_cast<int>(c))) || (c >= 0x80 && c != 0xFFFFFFFF);
}

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (!is_token(next_character(text, at))) {
      inside = false;
      continue;
    }
    if (!inside) tokens.emplace_back();
    tokens.back() += text.substr(start, at - start);
    inside = true;
  }
  return tokens;
}

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

std::string literal(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", x);
  return text;
}

std::string scaled(const std::string& column) {
  return "(" + column + " / " + literal(kRewardScale) + ".0)";
}

std::string packed_at(int field) { return "packed(s.rest, " + std::to_string(field) + ")"; }
std::string packed(PackedField field) { return packed_at(static_cast<int>(field)); }
std::string packed_words(int list) {
  return packed_at(static_cast<int>(PackedField::kWords) + list);
}

// Recursive descent:  any := all ("or" all)*   all := one (one)*   one := "not" one | "(" any ")" |
// term
class Parser {
 public:
  Parser(std::string_view text, const std::vector<std::string>& extra)
      : text_(text), extra_(extra) {}

  std::variant<CompiledQuery, QueryError> parse() {
    if (text_.size() > kMaxQuery)
      return QueryError{"the query is longer than 4096 bytes", kMaxQuery};
    pass();
    if (!error_ && !choice_) {
      // Every term at the top must hold: a second pass takes the words out of the condition.
      at_ = 0;
      terms_ = 0;
      query_ = {};
      drive_ = true;
      pass();
    }
    if (error_) return *error_;
    return std::move(query_);
  }

 private:
  void pass() {
    skip();
    if (at_ == text_.size()) return;
    std::string where = any(0);
    skip();
    if (!error_ && at_ < text_.size()) raise("a bracket closes that was never opened", at_);
    // Whichever table comes first gives the sample's number.
    const std::string id = query_.match.empty() ? "s.id" : "texts.rowid";
    for (size_t at = where.find(kId); at != std::string::npos; at = where.find(kId, at)) {
      where.replace(at, std::strlen(kId), id);
    }
    query_.where = std::move(where);
  }

  void raise(const std::string& what, size_t at) {
    if (!error_) error_ = QueryError{what, at};
  }

  void skip() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool word(std::string_view wanted) {
    skip();
    if (text_.size() - at_ < wanted.size()) return false;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (!same_letter(text_[at_ + i], wanted[i])) return false;
    }
    const size_t end = at_ + wanted.size();
    if (end < text_.size() && !is_space(text_[end]) && text_[end] != '(' && text_[end] != ')')
      return false;
    at_ = end;
    return true;
  }

  std::string any(int depth) {
    if (depth > kMaxDepth) {
      raise("brackets are nested too deeply", at_);
      return "1";
    }
    std::string out = all(depth);
    bool several = false;
    while (!error_ && word("or")) {
      if (!several && !query_.verify.empty()) query_.exact = false;
      several = true;
      choice_ = choice_ || depth == 0;
      const size_t phrases = query_.verify.size();
      out += " OR " + all(depth);
      if (query_.verify.size() > phrases) query_.exact = false;
    }
    return several ? "(" + out + ")" : out;
  }

  std::string all(int depth) {
    std::string out = one(depth);
    for (;;) {
      skip();
      if (error_ || at_ == text_.size() || text_[at_] == ')') return out;
      const size_t before = at_;
      if (word("or")) {
        at_ = before;
        return out;
      }
      word("and");
      const std::string next = one(depth);
      if (out == "1") {
        out = next;
      } else if (next != "1") {
        out += " AND " + next;
      }
    }
  }

  std::string one(int depth) {
    skip();
    if (depth > kMaxDepth) {
      raise("too deeply nested", at_);
      return "1";
    }
    if (at_ == text_.size()) {
      raise("a term is missing here", at_);
      return "1";
    }
    if (word("not")) {
      const size_t phrases = query_.verify.size();
      const size_t values = query_.values.size();
      const int terms = terms_;
      skip();
      const size_t inner_at = at_;
      negated_ = !negated_;
      std::string inner = one(depth + 1);
      negated_ = !negated_;
      if (query_.verify.size() > phrases) {
        if (terms_ != terms + 1) {
          raise("a phrase of several words cannot stand inside a negated bracket", inner_at);
        }
        // The index finds too many texts for such a phrase, so "not" must not trust it: the
        // comparison decides alone.
        query_.values.resize(values);
        inner = "0";
      }
      return "NOT (" + inner + ")";
    }
    if (text_[at_] == '(') {
      const size_t open = at_++;
      std::string inner = any(depth + 1);
      skip();
      if (at_ < text_.size() && text_[at_] == ')') {
        ++at_;
      } else {
        raise("this bracket is never closed", open);
      }
      return inner;  // a choice already stands in brackets, and AND binds tighter than OR
    }
    return term(depth == 0);
  }

  std::string term(bool top) {
    if (++terms_ > kMaxTerms) raise("more than 100 terms", at_);
    if (error_) return "1";
    const size_t start = at_;
    if (text_[at_] == '"') return phrase(quoted(), start, top);
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const std::string name(text_.substr(start, at_ - start));
    const std::string op = read_operator();
    if (op.empty()) {
      while (at_ < text_.size() && !is_space(text_[at_]) && text_[at_] != ')' && text_[at_] != '(')
        ++at_;
      const std::string bare(text_.substr(start, at_ - start));
      if (bare.empty()) {
        raise("\"" + std::string(1, text_[start]) + "\" cannot start a term", start);
        return "1";
      }
      return phrase(bare, start, top);
    }
    if (name.empty()) {
      raise("a field name is missing before \"" + op + "\"", start);
      return "1";
    }
    const size_t value_at = at_;
    const std::string value = read_value();
    if (error_) return "1";
    if (op == "~") {
      if (name == "text") return phrase(value, value_at, top);
      raise("only text can be searched with ~", start);
      return "1";
    }
    return comparison(name, start, op, value, value_at);
  }

  std::string read_operator() {
    static constexpr std::string_view kOperators[] = {"!=", "<=", ">=", "==", "=", "<", ">", "~"};
    for (const std::string_view op : kOperators) {
      if (text_.substr(at_, op.size()) == op) {
        at_ += op.size();
        return op == "==" ? "=" : std::string(op);
      }
    }
    return "";
  }

  std::string quoted() {
    const size_t open = at_++;
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      out += text_[at_++];
    }
    if (at_ == text_.size()) {
      raise("this quote is never closed", open);
      return out;
    }
    ++at_;
    return out;
  }

  std::string read_value() {
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    const size_t start = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && text_[at_] != ')' && text_[at_] != '(')
      ++at_;
    if (at_ == start) raise("a value is missing here", start);
    return std::string(text_.substr(start, at_ - start));
  }

  // Words that the index can look up narrow the search; order and what stands between is compared
  // in the text.
  std::string phrase(const std::string& text, size_t at, bool top) {
    std::vector<std::string> tokens = tokens_of(text);
    if (tokens.empty()) {
      raise("there is no word or number to search for", at);
      return "1";
    }
    const bool prefix = text.back() == '*';
    std::string match;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) match += " AND ";
      match += "\"" + tokens[i] + "\"" + (prefix && i + 1 == tokens.size() ? "*" : "");
    }
    const bool one_word = tokens.size() == 1 && (tokens[0] == text || tokens[0] + "*" == text);
    if (!one_word) query_.verify.push_back({text, negated_});
    if (top && drive_) {
      query_.match += (query_.match.empty() ? "" : " AND ") + match;
      return "1";
    }
    query_.values.emplace_back(match);
    return std::string(kId) + " IN (SELECT rowid FROM texts WHERE texts MATCH ?)";
  }

  const QueryField* field(const std::string& name) const {
    for (const QueryField& candidate : query_fields()) {
      if (candidate.name == name) return &candidate;
    }
    return nullptr;
  }

  std::optional<double> number(std::string value) const {
    double factor = 1;
    if (!value.empty() && (value.back() == 'k' || value.back() == 'm')) {
      factor = value.back() == 'k' ? 1e3 : 1e6;
      value.pop_back();
    }
    if (value == "true" || value == "yes") return 1;
    if (value == "false" || value == "no") return 0;
    char* end = nullptr;
    const double parsed = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !std::isfinite(parsed)) return std::nullopt;
    return parsed * factor;
  }

  std::string comparison(const std::string& name, size_t name_at, const std::string& op,
                         const std::string& value, size_t value_at) {
    if (std::find(extra_.begin(), extra_.end(), name) != extra_.end()) {
      query_.values.emplace_back(name);
      return numeric("coalesce((SELECT value FROM extra WHERE field = ? AND sample = s.id), 0)", op,
                     value, value_at);
    }
    const QueryField* known = field(name);
    if (known == nullptr) {
      std::vector<std::string> names = extra_;
      for (const QueryField& candidate : query_fields()) names.push_back(candidate.name);
      const std::string near = nearest(name, names);
      raise("there is no field \"" + name + "\"" +
                (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
            name_at);
      return "1";
    }
    if (name == "step") return step_range(op, value, value_at);
    if (known->sql.find("g.") != std::string::npos) query_.uses_groups = true;
    if (name == "finish" || name == "source") return named_value(*known, op, value, value_at);
    if (!known->text) return numeric(known->sql, op, value, value_at);
    if (op != "=" && op != "!=") {
      raise("\"" + name + "\" is text and can only be compared with = and !=", value_at);
      return "1";
    }
    query_.values.emplace_back(value);
    return (op == "=" ? "" : "NOT ") + known->sql;
  }

  // Steps never decrease in a stream, so a condition on the step is a range of samples.
  std::string step_range(const std::string& op, const std::string& value, size_t value_at) {
    const auto parsed = number(value);
    if (!parsed) {
      raise("\"" + value + "\" is no number", value_at);
      return "1";
    }
    const double half = op == "=" || op == "!=" ? kSame : 0;
    const auto first = [](const char* comparison, double step) {
      return std::string("coalesce((SELECT first_sample FROM groups WHERE step ") + comparison +
             " " + literal(step) + " ORDER BY step, id LIMIT 1), 9223372036854775807)";
    };
    const std::string from = kId + (" >= " + first(op == ">" ? ">" : ">=", *parsed - half));
    const std::string to = kId + (" < " + first(op == "<" ? ">=" : ">", *parsed + half));
    if (op == ">" || op == ">=") return from;
    if (op == "<" || op == "<=") return to;
    return op == "=" ? from + " AND " + to : "NOT (" + from + " AND " + to + ")";
  }

  std::string numeric(const std::string& sql, const std::string& op, const std::string& value,
                      size_t value_at) {
    const auto parsed = number(value);
    if (!parsed) {
      raise("\"" + value + "\" is no number", value_at);
      return "1";
    }
    if (op == "=" || op == "!=") {
      return sql + (op == "=" ? " BETWEEN " : " NOT BETWEEN ") + literal(*parsed - kSame) +
             " AND " + literal(*parsed + kSame);
    }
    return sql + " " + op + " " + literal(*parsed);
  }

  std::string named_value(const QueryField& known, const std::string& op, const std::string& value,
                          size_t value_at) {
    std::vector<std::string> names;
    for (int i = 0; i < (known.name == "finish" ? 3 : 4); ++i) {
      names.emplace_back(known.name == "finish" ? to_string(static_cast<FinishReason>(i))
                                                : to_string(static_cast<GroupSource>(i)));
    }
    const auto found = std::find(names.begin(), names.end(), value);
    if (found == names.end() || (op != "=" && op != "!=")) {
      std::string list;
      for (const std::string& option : names) list += (list.empty() ? "" : ", ") + option;
      raise("\"" + known.name + "\" is compared by = or != with one of " + list, value_at);
      return "1";
    }
    query_.values.emplace_back(static_cast<int64_t>(found - names.begin()));
    return known.sql + " " + op + " ?";
  }

  std::string_view text_;
  const std::vector<std::string>& extra_;
  size_t at_ = 0;
  int terms_ = 0;
  bool choice_ = false;  // the query is an "or" at the top
  bool drive_ = false;   // words at the top go to CompiledQuery::match
  bool negated_ = false;
  CompiledQuery query_;
  std::optional<QueryError> error_;
};

}  // namespace

const std::vector<QueryField>& query_fields() {
  static const std::vector<QueryField> fields = {
      {"step", "training step", "g.step"},
      {"reward", "sum of the weighted rewards", scaled("s.reward")},
      {"adv", "advantage", scaled("s.adv")},
      {"len", "tokens of the completion", "s.len"},
      {"correct", "1 when the answer is right", "(s.flags & 1)"},
      {"failed", "1 when grading failed: neither right nor wrong", "((s.flags >> 5) & 1)"},
      {"finish", "stop, length or aborted", "((s.flags >> 1) & 3)"},
      {"masked", "1 when left out of the loss", "((s.flags >> 3) & 1)"},
      {"refl", "reflection markers (all word lists)", "s.refl"},
      {"cands", "candidate answers", packed(PackedField::kCandidates)},
      {"flips", "flips from wrong to right", "s.wr"},
      {"lost", "flips from right to wrong", packed(PackedField::kRightToWrong)},
      {"kept", "right candidates that followed a right one", packed(PackedField::kRightToRight)},
      {"stuck", "wrong candidates that followed a wrong one", packed(PackedField::kWrongToWrong)},
      {"aha", "reflection markers followed by a flip to right", "s.aha"},
      {"first", "tokens before the first right candidate",
       "(nullif(" + packed(PackedField::kFirst) + ", 0) - 1)"},
      {"loop", "1 when it ends in a cycle", "((s.flags >> 4) & 1)"},
      {"rep", "percent of repeated 4-grams", packed(PackedField::kRepetition)},
      {"switch", "changes of script", packed(PackedField::kSwitches)},
      {"entropy", "mean entropy per token in nats",
       "(" + packed(PackedField::kEntropy) + " / 1000.0)"},
      {"logprob", "mean log-probability per token",
       "(" + packed(PackedField::kLogprob) + " / -1000.0)"},
      {"r1-nature", "words of the list r1-nature", packed_words(0)},
      {"oat-zero", "words of the list oat-zero", packed_words(1)},
      {"drgrpo", "words of the list drgrpo", packed_words(2)},
      {"verification", "words of verification", packed_words(3)},
      {"backtracking", "words of backtracking", packed_words(4)},
      {"subgoal", "words of subgoal setting", packed_words(5)},
      {"backward-chaining", "words of backward chaining", packed_words(6)},
      {"judge", "score of a judge, 0 to 3; only what was judged compares",
       "(SELECT value FROM extra WHERE field = 'judge' AND sample = s.id)"},
      {"sample", "position in its group", "(s.id - g.first_sample)"},
      {"group", "position of the group in its step", "g.idx"},
      {"zero", "1 when all rewards of the group are equal", "g.zero"},
      {"solved", "share of the group that is right", "(g.correct * 1.0 / max(g.n, 1))"},
      {"source", "train, probe, eval or discarded", "g.source"},
      {"task", "name of the task", "(g.problem IN (SELECT id FROM problems WHERE task = ?))", true},
      {"problem", "id of the problem", "(g.problem IN (SELECT id FROM problems WHERE name = ?))",
       true},
  };
  return fields;
}

std::string QueryError::with_caret(std::string_view query) const {
  return what + "\n  " + printable_line(query, 0) + "\n  " +
         std::string(printable_line(query.substr(0, std::min(at, query.size())), 0).size(), ' ') +
         "^";
}

std::variant<CompiledQuery, QueryError> compile_query(
    std::string_view query, const std::vector<std::string>& extra_fields) {
  return Parser(query, extra_fields).parse();
}

bool contains_phrase(std::string_view text, std::string_view phrase) {
  const bool prefix = !phrase.empty() && phrase.back() == '*';
  if (prefix) phrase.remove_suffix(1);
  if (phrase.empty()) return true;
  const auto word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
  };
  for (size_t at = 0; at + phrase.size() <= text.size(); ++at) {
    if (!same_letter(text[at], phrase[0])) continue;
    size_t same = 1;
    while (same < phrase.size() && same_letter(text[at + same], phrase[same])) ++same;
    if (same < phrase.size()) continue;
    const size_t end = at + phrase.size();
    const bool left = at == 0 || !word(phrase[0]) || !word(text[at - 1]);
    const bool right = prefix || end == text.size() || !word(phrase.back()) || !word(text[end]);
    if (left && right) return true;
  }
  return false;
}

}  // namespace zeroth
