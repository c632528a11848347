#include "tasks/builtin/data_rows.h"

#include <algorithm>
#include <initializer_list>

#include "core/ascii.h"
#include "core/error.h"
#include "rewards/final_number.h"
#include "rewards/format.h"
#include "rewards/math/math_grader.h"

namespace zeroth {
namespace {

using ascii::is_letter;
using ascii::lower;

// The member called `key`, in the same case or else in any ("Problem" for "problem").
const Json* member(const Json& object, const std::string& key, bool any_case) {
  if (const auto found = object.find(key); found != object.end()) return &*found;
  if (!any_case) return nullptr;
  for (const auto& [name, value] : object.items()) {
    if (lower(name) == key) return &value;
  }
  return nullptr;
}

const Json* find_path(const Json& row, std::string_view path, bool any_case) {
  const Json* at = &row;
  while (true) {
    const size_t dot = path.find('.');
    if (!at->is_object()) return nullptr;
    at = member(*at, std::string(path.substr(0, dot)), any_case);
    if (at == nullptr || dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

constexpr std::initializer_list<const char*> kPrompts = {
    "prompt", "question", "problem", "instruction", "messages", "conversations"};
constexpr std::initializer_list<const char*> kAnswers = {"reward_model.ground_truth",
                                                         "answer",
                                                         "ground_truth",
                                                         "final_answer",
                                                         "solution",
                                                         "label",
                                                         "target"};

// The named column, or the first of the usual ones that the row has and that is not null.
const Json* column(const Json& row, const std::string& named,
                   std::initializer_list<const char*> usual) {
  if (!named.empty()) return find_path(row, named, false);
  const Json* empty = nullptr;
  for (const char* name : usual) {
    const Json* found = find_path(row, name, true);
    if (found != nullptr && !found->is_null()) return found;
    if (found != nullptr && empty == nullptr) empty = found;
  }
  return empty;
}

[[noreturn]] void no_column(const std::string& named, std::initializer_list<const char*> usual,
                            const char* what, const std::string& place) {
  if (!named.empty()) {
    fail(place + ": no column \"" + named + "\" for the " + what,
         "name another column, or fix the file");
  }
  std::string tried;
  for (const char* name : usual) tried += (tried.empty() ? "" : ", ") + std::string(name);
  fail(place + ": no column for the " + what + " (looked for " + tried + ")",
       std::string("name it with ") + what + "_column");
}

std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
}

std::string scalar_text(const Json& value, const char* what, const std::string& place) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  fail(place + ": the " + what + " is neither text nor a number: " + shown(value),
       "use text or a number");
}

// The messages of a conversation as {"role", "content"}, whatever the columns are called.
Json as_messages(const Json& list) {
  Json messages = Json::array();
  for (const Json& turn : list) {
    if (!turn.is_object() || !turn.contains("from")) {
      messages.push_back(turn);
      continue;
    }
    const std::string from = turn["from"].is_string() ? turn["from"].get<std::string>() : "";
    const bool user = from == "human" || from == "user";
    messages.push_back({{"role", user               ? "user"
                                 : from == "system" ? "system"
                                                    : "assistant"},
                        {"content", turn.contains("value") ? turn["value"] : Json("")}});
    if (turn.contains("ground_truth")) messages.back()["ground_truth"] = turn["ground_truth"];
  }
  return messages;
}

// A conversation whose turns are columns "0", "1", ..
Json turns_of(const Json& row) {
  Json list = Json::array();
  for (int i = 0; i < 64; ++i) {
    const auto turn = row.find(std::to_string(i));
    if (turn == row.end() || !turn->is_object() || !turn->contains("from")) break;
    list.push_back(*turn);
  }
  return list;
}

// What the last turn says is the truth: ORZ keeps it there.
const Json* truth_inside(const Json& messages) {
  if (!messages.is_array() || messages.empty() || !messages.back().is_object()) return nullptr;
  const Json* truth = find_column(messages.back(), "ground_truth.value");
  return truth != nullptr ? truth : find_column(messages.back(), "ground_truth");
}

std::vector<std::string> golds_of(const Json& value, const std::string& place) {
  if (value.is_null())
    fail(place + ": the answer is null", "fill it in, or leave such rows out with bad_rows=drop");
  if (!value.is_array()) return {scalar_text(value, "answer", place)};
  std::vector<std::string> golds;
  for (const Json& one : value) golds.push_back(scalar_text(one, "answer", place));
  if (golds.empty()) fail(place + ": the answer is an empty list", "give at least one answer");
  return golds;
}

}  // namespace

const Json* find_column(const Json& row, std::string_view path) {
  return find_path(row, path, false);
}

DataRow read_data_row(const Json& row, const std::string& prompt_column,
                      const std::string& answer_column, const std::string& place) {
  DataRow out;
  const Json* prompt = column(row, prompt_column, kPrompts);
  if (prompt != nullptr) {
    out.prompt = prompt->is_array() ? as_messages(*prompt) : *prompt;
  } else {
    if (prompt_column.empty()) out.prompt = as_messages(turns_of(row));
    if (out.prompt.empty()) no_column(prompt_column, kPrompts, "prompt", place);
  }
  const Json* answer = column(row, answer_column, kAnswers);
  if (answer == nullptr && answer_column.empty()) answer = truth_inside(out.prompt);
  if (answer == nullptr) no_column(answer_column, kAnswers, "answer", place);
  out.golds = golds_of(*answer, place);
  if (out.prompt.is_array()) {
    // What the assistant said is the solution, which the policy must not be shown.
    while (out.prompt.size() > 1 && out.prompt.back().is_object() &&
           out.prompt.back().value("role", Json()) == "assistant") {
      out.prompt.erase(out.prompt.size() - 1);
      out.cut_assistant = true;
    }
  } else {
    out.prompt = scalar_text(out.prompt, "prompt", place);
  }
  return out;
}

namespace {

enum class GoldKind { kNumber, kMath, kText };

GoldKind kind_of(std::string_view gold) {
  gold = trim(gold);
  if (gold.rfind("####") != std::string_view::npos)
    return gold_fault("number", std::string(gold)).empty() ? GoldKind::kNumber : GoldKind::kMath;
  // A number with a sign, separators, a currency and a percent sign, and nothing else.
  size_t digits = 0;
  bool plain = true;
  for (const char c : gold) {
    digits += c >= '0' && c <= '9';
    plain &=
        (c >= '0' && c <= '9') || std::string_view("+-.,$% ").find(c) != std::string_view::npos;
  }
  if (plain && digits > 0 && gold.find(", ") == std::string_view::npos &&
      gold_fault("number", std::string(gold)).empty())
    return GoldKind::kNumber;
  const bool signs = gold.find_first_of("\\^_={}<>+*/$|[]") != std::string_view::npos;
  if (signs) return GoldKind::kMath;
  int words = 0;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!is_letter(gold[i])) continue;
    const size_t begin = i;
    while (i < gold.size() && is_letter(gold[i])) ++i;
    words += i - begin >= 2;
  }
  if (digits == 0) return GoldKind::kText;
  return words >= 4 ? GoldKind::kText : GoldKind::kMath;  // a sentence that mentions a number
}

}  // namespace

std::string grader_for(const std::vector<const std::string*>& golds) {
  size_t counts[3] = {0, 0, 0};
  for (const std::string* gold : golds) ++counts[static_cast<size_t>(kind_of(*gold))];
  if (counts[0] == golds.size()) return "number";
  if (counts[2] == golds.size()) return "text";
  return "math";
}

std::string gold_fault(const std::string& grader, const std::string& gold) {
  if (trim(gold).empty()) return "the answer is empty";
  if (grader == "text") return {};
  if (grader == "math") {
    const bool bad = grade_math(gold, "").reason == Reason::kBadGold;
    return bad ? "the math grader reads nothing in the answer" : std::string();
  }
  if (check_final_number("", gold).reason == Reason::kBadGold) return "the answer holds no number";
  // The last figures of "\frac{7}{2}" or "x^2 + 4" are not the answer.
  const bool marked = gold.find("####") != std::string::npos;
  if (!marked && gold.find_first_of("\\^{}[]|") != std::string::npos)
    return "the answer is no plain number";
  return {};
}

}  // namespace zeroth
