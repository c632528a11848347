#include "rewards/code/code_columns.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <set>

#include "core/config.h"
#include "core/error.h"

namespace zeroth {
namespace {

using Kind = PyValue::Kind;
using Names = std::initializer_list<const char*>;

std::string text_of(const PyValue* value) {
  return value != nullptr && value->kind == Kind::kString ? value->text : "";
}

bool blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

const PyValue* first_of(const PyValue& object, Names names) {
  for (const char* name : names) {
    const PyValue* found = field(object, name);
    if (found != nullptr && found->kind != Kind::kNone) return found;
  }
  return nullptr;
}

std::string first_text(const PyValue& object, Names names) {
  for (const char* name : names) {
    if (const std::string text = text_of(field(object, name)); !text.empty()) return text;
  }
  return {};
}

bool all_texts(const std::vector<PyValue>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](const PyValue& value) { return value.kind == Kind::kString; });
}

// Base64 of a zlib stream, whatever its level of compression.
bool is_packed(const std::string& text) {
  return text.size() > 16 && text[0] == 'e' &&
         std::string_view("JNAF").find(text[1]) != std::string_view::npos &&
         text.find_first_of(" \n(") == std::string::npos;
}

// A text that holds a JSON object or list becomes that; also when it is packed.
PyValue opened(const PyValue& value) {
  if (value.kind != Kind::kString || blank(value.text)) return value;
  PyValue inner;
  const char first = value.text[value.text.find_first_not_of(" \t\r\n")];
  if ((first == '{' || first == '[') && parse_value(value.text, true, inner)) return opened(inner);
  if (is_packed(value.text)) {
    const std::string unpacked = unpack_cases(value.text);
    if (!unpacked.empty() && parse_value(unpacked, true, inner)) return opened(inner);
  }
  return value;
}

constexpr Names kEntryNames = {"entry_point",   "fn_name",          "func_name",
                               "function_name", "test_entry_point", "method_name"};

// Name of the function under test as an object says it; metadata of LiveCodeBench may be JSON text.
std::string entry_of(const PyValue& object) {
  if (const std::string name = first_text(object, kEntryNames); !name.empty()) return name;
  for (const char* inner : {"metadata", "test_info"}) {
    const PyValue* found = field(object, inner);
    if (found == nullptr) continue;
    PyValue value = opened(*found);
    if (value.kind == Kind::kList && value.items.size() == 1) value = PyValue(value.items[0]);
    if (const std::string name = first_text(value, kEntryNames); !name.empty()) return name;
  }
  return {};
}

std::string language_of(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.empty() || name.find("py") != std::string::npos) return "python";
  for (const char* cpp : {"cpp", "c++", "cxx"}) {
    if (name.find(cpp) != std::string::npos) return "cpp";
  }
  fail("tests: language is \"" + name + "\"", "choose python or cpp");
}

// Seconds: 2, "2 seconds", {"seconds": 2, "nanos": 0}, 2000 (milliseconds). 0: none.
double seconds_of(const PyValue* value) {
  if (value == nullptr) return 0;
  double seconds = 0;
  if (value->kind == Kind::kDict) {
    const PyValue *whole = field(*value, "seconds"), *nanos = field(*value, "nanos");
    seconds = seconds_of(whole);
    if (nanos != nullptr && nanos->kind == Kind::kInt)
      seconds += std::strtod(nanos->text.c_str(), nullptr) * 1e-9;
  } else if (value->kind == Kind::kFloat) {
    seconds = value->number;
  } else if (value->kind == Kind::kInt || value->kind == Kind::kString) {
    seconds = std::strtod(value->text.c_str(), nullptr);
  }
  if (seconds > 300) seconds /= 1000;
  return seconds > 0 && seconds <= 300 ? seconds : 0;
}

// What the rows' columns come to, before it is known whether a function or a program is tested.
struct Cases {
  std::vector<PyValue> inputs, outputs;
  std::vector<PyValue> calls, values;  // "calls" and "expected_values"
  std::vector<std::string> sources;
  std::string entry, language;
  bool functional = false;
};

class Reader {
 public:
  explicit Reader(const PyValue& row) : row_(row) {}

  Cases read() {
    cases_.entry = entry_of(row_);
    cases_.language = first_text(row_, {"language", "lang"});
    if (const PyValue* tests = field(row_, "tests"); tests != nullptr) take(*tests, "tests");
    if (!found()) take_columns(row_);
    if (!found()) {
      for (const char* name :
           {"test", "test_list", "asserts", "check", "test_cases", "test_case_list", "input_output",
            "verification_info", "official_tests", "test_code", "unit_tests", "test_func"}) {
        const PyValue* column = field(row_, name);
        if (column != nullptr && !found()) take(*column, name);
      }
    }
    if (!found()) take_verl();
    if (!found()) {
      for (const char* name : {"public_test_cases", "private_test_cases", "public_tests",
                               "private_tests", "generated_tests"}) {
        if (const PyValue* column = field(row_, name)) take(*column, name);
      }
    }
    if (!found()) {
      fail("the row has no tests",
           "give \"tests\" with calls and expected_values, inputs and outputs, or asserts");
    }
    return std::move(cases_);
  }

 private:
  bool found() const {
    return !cases_.inputs.empty() || !cases_.calls.empty() || !cases_.sources.empty();
  }

  void take_verl() {
    const PyValue* model = field(row_, "reward_model");
    PyValue inner;
    if (model != nullptr) inner = opened(*model);
    if (const PyValue* truth = field(inner, "ground_truth"))
      take(*truth, "reward_model.ground_truth");
    if (const PyValue* truth = field(row_, "ground_truth"); truth != nullptr && !found())
      take(*truth, "ground_truth");
  }

  // calls and expected_values, or inputs and outputs, beside each other in one object.
  void take_columns(const PyValue& object) {
    if (const PyValue* calls = field(object, "calls")) {
      const PyValue* values = field(object, "expected_values");
      need_pairs(calls, values, "calls", "expected_values");
      cases_.calls = calls->items;
      cases_.values = values->items;
      return;
    }
    const PyValue* inputs = first_of(object, {"inputs", "input"});
    const PyValue* outputs = first_of(object, {"outputs", "output"});
    if (inputs == nullptr || outputs == nullptr) return;
    need_pairs(inputs, outputs, "inputs", "outputs");
    cases_.inputs.insert(cases_.inputs.end(), inputs->items.begin(), inputs->items.end());
    cases_.outputs.insert(cases_.outputs.end(), outputs->items.begin(), outputs->items.end());
  }

  static void need_pairs(const PyValue* a, const PyValue* b, const std::string& first,
                         const std::string& second) {
    if (a->kind != Kind::kList) fail("tests: " + first + " is not a list", "give a list");
    if (b == nullptr || b->kind != Kind::kList)
      fail("tests: " + second + " is not a list", "give a list");
    if (a->items.size() != b->items.size()) {
      fail("tests: " + std::to_string(a->items.size()) + " " + first + " but " +
               std::to_string(b->items.size()) + " " + second,
           "give one for each");
    }
  }

  void take(const PyValue& column, const std::string& name) {
    const PyValue value = opened(column);
    if (value.kind == Kind::kString) {
      if (blank(value.text)) return;
      refuse_unread(value.text, name);
      cases_.sources.push_back(value.text);
      return;
    }
    if (value.kind == Kind::kDict) return take_object(value, name);
    if (value.kind == Kind::kNone) return;
    if (value.kind != Kind::kList)
      fail("tests: " + name + " is neither text, list nor object", "see docs/tasks.md");
    for (const PyValue& item : value.items) {
      const PyValue one = opened(item);
      if (one.kind == Kind::kString) {
        if (!blank(one.text)) cases_.sources.push_back(one.text);
      } else if (one.kind == Kind::kDict) {
        take_case(one, name);
      } else {
        fail("tests: an entry of " + name + " is neither text nor object", "see docs/tasks.md");
      }
    }
  }

  // Tests that cannot be read are no tests, and without them the others would be easier to pass.
  static void refuse_unread(const std::string& text, const std::string& name) {
    if (!name.ends_with("_test_cases") && !is_packed(text)) return;
    fail("tests: " + name + ", a text of " + std::to_string(text.size()) +
             " bytes, is neither JSON nor base64 of a zlib-compressed pickled text",
         "bring the row as it was published; at most 1 GiB is unpacked");
  }

  void take_names(const PyValue& object) {
    if (const std::string entry = entry_of(object); !entry.empty()) cases_.entry = entry;
    if (const std::string language = text_of(field(object, "language")); !language.empty())
      cases_.language = language;
  }

  void take_object(const PyValue& object, const std::string& name) {
    take_names(object);
    const bool before = found();
    take_columns(object);
    for (const char* inner : {"test_cases", "tests", "ground_truth", "assert_case", "functional",
                              "test_list", "asserts", "test", "check"}) {
      const PyValue* more = field(object, inner);
      if (more != nullptr && (before || !found())) take(*more, name + "." + inner);
    }
  }

  // One test of a list: {"input", "output"}.
  void take_case(const PyValue& one, const std::string& name) {
    take_names(one);
    const PyValue *input = field(one, "input"), *output = field(one, "output");
    if (input == nullptr) input = field(one, "stdin");
    if (output == nullptr) output = first_of(one, {"expected_output", "stdout", "expected"});
    if (input == nullptr || output == nullptr) {
      if (first_of(one, {"calls", "inputs", "test_list", "asserts"})) return take_object(one, name);
      if (const std::string source = first_text(one, {"assert", "test", "code", "assertion"});
          !source.empty()) {
        cases_.sources.push_back(source);
        return;
      }
      fail("tests: an entry of " + name + " lacks \"input\" or \"output\"", "give both in each");
    }
    const std::string kind = first_text(one, {"testtype", "type"});
    cases_.functional |= kind == "functional" || kind == "function_call";
    cases_.inputs.push_back(*input);
    cases_.outputs.push_back(*output);
  }

  const PyValue& row_;
  Cases cases_;
};

// One line of standard input or output: a text as it is, a number or a truth value as Python prints
// it, a list as its members with blanks between. Anything else has no single reading.
std::string stream_text(const PyValue& value) {
  switch (value.kind) {
    case Kind::kString:
    case Kind::kInt:
      return value.text;
    case Kind::kBool:
      return value.boolean ? "True" : "False";
    case Kind::kFloat:
      return Json(value.number).dump();
    case Kind::kList: {
      std::string text;
      for (const PyValue& item : value.items) text += (text.empty() ? "" : " ") + stream_text(item);
      return text;
    }
    default:
      fail("tests: an input or output is null or an object",
           "give texts, numbers or lists of them");
  }
}

std::string stream_lines(const PyValue& value) {
  if (value.kind != Kind::kList) return stream_text(value);
  std::string text;
  for (const PyValue& line : value.items) text += stream_text(line) + "\n";
  return text;
}

// Arguments or values as JSON text, one a line (LiveCodeBench); false when any is none.
bool parse_lines(const std::vector<PyValue>& texts, std::vector<std::vector<PyValue>>& all) {
  for (const PyValue& text : texts) {
    std::vector<PyValue>& values = all.emplace_back();
    for (size_t at = 0; at <= text.text.size();) {
      const size_t end = std::min(text.text.find('\n', at), text.text.size());
      const std::string line = text.text.substr(at, end - at);
      at = end + 1;
      if (blank(line)) continue;
      if (!parse_value(line, true, values.emplace_back())) return false;
    }
  }
  return true;
}

void load_functional(const Cases& cases, CodeTests& out) {
  out.from_json = true;
  out.prelude = true;
  std::vector<std::vector<PyValue>> arguments, values;
  const bool texts = all_texts(cases.inputs);
  const bool parsed = texts && parse_lines(cases.inputs, arguments);
  const bool text_values =
      texts && all_texts(cases.outputs) && parse_lines(cases.outputs, values) &&
      std::all_of(values.begin(), values.end(), [](const auto& v) { return v.size() == 1; });
  bool wrapped = !texts;
  for (size_t i = 0; i < cases.inputs.size(); ++i) {
    CodeTest test;
    if (parsed)
      test.arguments = arguments[i];
    else if (cases.inputs[i].kind == Kind::kList)
      test.arguments = cases.inputs[i].items;
    else
      test.arguments = {cases.inputs[i]};
    test.expected = text_values ? values[i][0] : cases.outputs[i];
    wrapped &= test.expected.kind == Kind::kList && test.expected.items.size() == 1;
    out.tests.push_back(std::move(test));
  }
  out.maybe_wrapped = wrapped;
}

void load_programs(const Cases& cases, CodeTests& out) {
  out.kind = CodeTests::Kind::kPrograms;
  for (size_t i = 0; i < cases.inputs.size(); ++i) {
    CodeTest test;
    test.input = stream_lines(cases.inputs[i]);
    test.output = stream_lines(cases.outputs[i]);
    out.tests.push_back(std::move(test));
  }
}

void load_calls(const Cases& cases, CodeTests& out) {
  out.from_json = true;
  for (size_t i = 0; i < cases.calls.size(); ++i) {
    CodeTest test;
    if (cases.calls[i].kind == Kind::kList)
      test.arguments = cases.calls[i].items;
    else
      test.call = text_of(&cases.calls[i]);
    test.expected = cases.values[i];
    out.tests.push_back(std::move(test));
  }
}

std::vector<std::string> lines_of(const PyValue* value) {
  std::vector<std::string> lines;
  if (value == nullptr) return lines;
  const PyValue list = opened(*value);
  if (list.kind == Kind::kString) lines.push_back(list.text);
  for (const PyValue& item : list.items) lines.push_back(text_of(&item));
  return lines;
}

// The function that asserts call: the name right after "assert", through wrappers such as set(..),
// sorted(..), not.
std::string guess_entry(const std::string& reference, const std::vector<std::string>& sources) {
  // MBPP: the last function of the reference solution that an assert mentions.
  std::string entry;
  for (size_t at = reference.find("def "); at != std::string::npos;
       at = reference.find("def ", at + 4)) {
    if (at > 0 && reference[at - 1] != '\n') continue;
    const size_t end = reference.find('(', at);
    if (end == std::string::npos) break;
    std::string name = reference.substr(at + 4, end - at - 4);
    name.erase(std::remove(name.begin(), name.end(), ' '), name.end());
    if (!sources.empty() && sources[0].find(name + "(") != std::string::npos) entry = name;
  }
  if (!entry.empty() || sources.empty()) return entry;
  // Builtins and library functions that tests put around the call.
  static const std::set<std::string, std::less<>> kWrappers = {
      "assert",   "not",        "in",         "is",      "and",     "or",        "lambda",
      "if",       "abs",        "all",        "any",     "bool",    "bytes",     "callable",
      "chr",      "complex",    "dict",       "dir",     "divmod",  "enumerate", "filter",
      "float",    "format",     "frozenset",  "getattr", "hasattr", "hash",      "int",
      "isclose",  "isinstance", "issubclass", "iter",    "len",     "list",      "map",
      "max",      "min",        "next",       "ord",     "pow",     "range",     "repr",
      "reversed", "round",      "set",        "slice",   "sorted",  "str",       "sum",
      "tuple",    "type",       "zip",        "Counter", "Decimal", "Fraction",  "approx",
      "deepcopy", "ceil",       "floor",      "sqrt",    "isnan",   "isinf"};
  // Only what is asserted: imports and helpers come before.
  const size_t start = sources[0].find("assert");
  const std::string text = start == std::string::npos ? "" : sources[0].substr(start);
  for (size_t i = 0; i < text.size();) {
    if (!std::isalpha(static_cast<unsigned char>(text[i])) && text[i] != '_') {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
      ++end;
    const std::string word = text.substr(i, end - i);
    const bool attribute = i > 0 && text[i - 1] == '.';
    i = end;
    while (end < text.size() && text[end] == ' ') ++end;
    if (end < text.size() && text[end] == '(' && !attribute && !kWrappers.contains(word))
      return word;
  }
  return "";
}

// Without the fence around it.
std::string unfenced(std::string text) {
  const size_t open = text.find("```"), line = text.find('\n', open);
  if (open == std::string::npos || line == std::string::npos) return text;
  const size_t close = text.find("```", line);
  return close == std::string::npos ? text.substr(line + 1)
                                    : text.substr(line + 1, close - line - 1);
}

// The first of several solutions; code_contests gives languages and solutions side by side.
std::string first_solution(const PyValue& column) {
  const PyValue solutions = opened(column);
  if (solutions.kind == Kind::kString) return unfenced(solutions.text);
  if (const PyValue* texts = field(solutions, "solution")) {
    const PyValue* languages = field(solutions, "language");
    for (size_t i = 0; i < texts->items.size(); ++i) {
      const bool known = languages != nullptr && i < languages->items.size();
      if (!known || languages->items[i].text == "3" || languages->items[i].text == "PYTHON3")
        return texts->items[i].text;
    }
    return {};
  }
  for (const PyValue& item : solutions.items) {
    const std::string text =
        item.kind == Kind::kString ? item.text : first_text(item, {"code", "solution"});
    if (!blank(text)) return unfenced(text);
  }
  return {};
}

// A prompt that is Python up to where the program begins: it starts as code does and has the line
// that defines `entry`.
bool begins_function(std::string_view prompt, const std::string& entry) {
  const std::string head = "def " + entry + "(";
  if (entry.empty() || (!prompt.starts_with(head) && prompt.find("\n" + head) == prompt.npos))
    return false;
  prompt.remove_prefix(std::min(prompt.find_first_not_of(" \t\r\n"), prompt.size()));
  const Names starts = {"def ", "from ", "import ", "class ", "@", "#", "\"\"\"", "'''"};
  return std::any_of(starts.begin(), starts.end(),
                     [&](const char* start) { return prompt.starts_with(start); });
}

}  // namespace

RowCode code_of_row(const PyValue& row) {
  RowCode code;
  const std::string prompt = first_text(row, {"complete_prompt", "prompt"});
  const std::string body = text_of(field(row, "canonical_solution"));
  // A row may come without its solution; helpers that the prompt defines are the row's all the same.
  if (!body.empty() || begins_function(prompt, entry_of(row))) code.given = prompt;
  if (!body.empty()) {
    code.reference = code.given + body;
    return code;
  }
  code.reference = unfenced(first_text(
      row, {"code", "solution", "gold_standard_solution", "reference_solution", "canonical_code"}));
  const PyValue* solutions = field(row, "solutions");
  if (code.reference.empty() && solutions != nullptr) code.reference = first_solution(*solutions);
  return code;
}

const PyValue* field(const PyValue& object, std::string_view name) {
  if (object.kind != Kind::kDict) return nullptr;
  for (size_t i = 0; i + 1 < object.items.size(); i += 2) {
    if (object.items[i].text == name) return &object.items[i + 1];
  }
  return nullptr;
}

RowTests read_row_tests(std::string_view json) {
  PyValue row;
  if (!parse_value(json, /*plain=*/true, row) || row.kind != Kind::kDict) {
    fail("not a JSON object: " + std::string(json.substr(0, 80)), "give one JSON object a line");
  }
  Cases cases = Reader(row).read();
  RowTests out;
  out.tests.entry = cases.entry;
  out.tests.language = language_of(cases.language);
  out.tests.time_limit = seconds_of(first_of(row, {"time_limit", "timeout"}));
  const PyValue* tests = field(row, "tests");
  for (const PyValue* object : {tests, const_cast<const PyValue*>(&row)}) {
    if (object == nullptr || object->kind != Kind::kDict) continue;
    for (const std::string& line : lines_of(field(*object, "test_imports")))
      out.tests.setup += line + "\n";
    out.tests.setup += text_of(field(*object, "test_setup_code"));
  }
  const bool function = !cases.entry.empty() || cases.functional;
  if (out.tests.language == "cpp" && (cases.inputs.empty() || function)) {
    fail("tests: C++ programs take inputs and outputs only",
         "give \"inputs\" and \"outputs\" without fn_name");
  }
  if (!cases.calls.empty() || !cases.inputs.empty()) {
    if (function && cases.entry.empty())
      fail("tests: they call a function whose name the row does not give", "give \"fn_name\"");
    if (!cases.calls.empty())
      load_calls(cases, out.tests);
    else if (function)
      load_functional(cases, out.tests);
    else
      load_programs(cases, out.tests);
    return out;
  }
  out.tests.kind = CodeTests::Kind::kJudged;
  const RowCode code = code_of_row(row);
  if (out.tests.entry.empty()) out.tests.entry = guess_entry(code.reference, cases.sources);
  out.tests.given = code.given;
  out.python = {std::move(cases.sources), out.tests.setup, out.tests.entry, code.given,
                code.reference};
  return out;
}

}  // namespace zeroth
