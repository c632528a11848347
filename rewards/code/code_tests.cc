// Reads the tests of a data row in any of the shapes that public data sets use.
#include <algorithm>
#include <map>

#include "core/config.h"
#include "core/error.h"
#include "rewards/code/code_grader.h"
#include "rewards/code/job.h"

namespace zeroth {
namespace {

using Kind = PyValue::Kind;

const PyValue* field(const PyValue& object, const std::string& name) {
  if (object.kind != Kind::kDict) return nullptr;
  for (size_t i = 0; i + 1 < object.items.size(); i += 2) {
    if (object.items[i].text == name) return &object.items[i + 1];
  }
  return nullptr;
}

std::string text_of(const PyValue* value) {
  return value != nullptr && value->kind == Kind::kString ? value->text : "";
}

PyValue parse_row(std::string_view json) {
  PyValue row;
  if (!parse_value(json, /*plain=*/true, row) || row.kind != Kind::kDict) {
    fail("not a JSON object: " + std::string(json.substr(0, 80)), "give one JSON object a line");
  }
  return row;
}

// From the row and its "tests" object, whichever has it.
const PyValue* either(const PyValue& row, const PyValue* tests, const std::string& name) {
  if (tests != nullptr) {
    if (const PyValue* found = field(*tests, name)) return found;
  }
  return field(row, name);
}

void need_list(const PyValue* value, const std::string& name) {
  if (value == nullptr || value->kind != Kind::kList)
    fail("tests: " + name + " is not a list", "give a list");
}

void load_calls(CodeTests& out, const PyValue& calls, const PyValue* expected) {
  need_list(&calls, "calls");
  need_list(expected, "expected_values");
  if (calls.items.size() != expected->items.size()) {
    fail("tests: " + std::to_string(calls.items.size()) + " calls but " +
             std::to_string(expected->items.size()) + " expected values",
         "give one expected value per call");
  }
  if (calls.items.empty()) fail("tests: calls is empty", "give at least one test");
  out.json_values = true;
  for (size_t i = 0; i < calls.items.size(); ++i) {
    CodeTest test;
    if (calls.items[i].kind == Kind::kList)
      test.arguments = calls.items[i].items;
    else
      test.call = text_of(&calls.items[i]);
    test.expected = expected->items[i];
    out.tests.push_back(std::move(test));
  }
}

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

void load_programs(CodeTests& out, const PyValue& inputs, const PyValue* outputs) {
  need_list(&inputs, "inputs");
  need_list(outputs, "outputs");
  if (inputs.items.size() != outputs->items.size())
    fail("tests: inputs and outputs differ in number", "give one output per input");
  if (inputs.items.empty()) fail("tests: inputs is empty", "give at least one test");
  const auto joined = [](const PyValue& value) {
    if (value.kind != Kind::kList) return stream_text(value);
    std::string text;
    for (const PyValue& line : value.items) text += stream_text(line) + "\n";
    return text;
  };
  for (size_t i = 0; i < inputs.items.size(); ++i) {
    CodeTest test;
    test.op = CodeTest::Op::kOutput;
    test.input = joined(inputs.items[i]);
    test.output = joined(outputs->items[i]);
    out.tests.push_back(std::move(test));
  }
}

// Tagged objects inside a value that was read as plain JSON.
void resolve_tags(PyValue& value) {
  for (PyValue& item : value.items) resolve_tags(item);
  if (value.kind != Kind::kDict || value.items.size() != 2 || value.items[0].text.size() != 1)
    return;
  PyValue body = value.items[1];
  switch (value.items[0].text[0]) {
    case 'f':
      value = PyValue();
      value.kind = Kind::kFloat;
      value.number = std::strtod(body.text.c_str(), nullptr);
      return;
    case 'b':
      value = PyValue();
      value.kind = Kind::kBytes;
      value.text = body.text;
      return;
    case 'c':
      value = PyValue();
      value.kind = Kind::kComplex;
      value.number = std::strtod(body.items.at(0).text.c_str(), nullptr);
      value.imaginary = std::strtod(body.items.at(1).text.c_str(), nullptr);
      return;
    case 't':
    case 's': {
      const Kind kind = value.items[0].text[0] == 't' ? Kind::kTuple : Kind::kSet;
      value = PyValue();
      value.kind = kind;
      value.items = body.items;
      return;
    }
    case 'd': {
      value = PyValue();
      value.kind = Kind::kDict;
      for (const PyValue& pair : body.items) {
        value.items.push_back(pair.items.at(0));
        value.items.push_back(pair.items.at(1));
      }
      return;
    }
    default:
      return;
  }
}

// What the rewriter reported about the asserts of one row.
void take_asserts(CodeTests& out, const SandboxResult& result, const std::string& nonce) {
  PyValue tests;
  if (result.report.compare(0, nonce.size() + 1, nonce + " ") != 0 ||
      !parse_value(std::string_view(result.report).substr(nonce.size() + 1), true, tests)) {
    fail("cannot read the tests: " +
             (result.error.empty() ? result.err.substr(0, 300) : result.error),
         "are they valid Python?");
  }
  if (const PyValue* refused = field(tests, "refused"))
    fail(refused->text, "give asserts, test functions, unittest classes or check(candidate)");
  for (const PyValue& item : tests.items) {
    CodeTest test;
    if (const PyValue* weak = field(item, "weak")) {
      test.op = CodeTest::Op::kWeak;
      test.call = weak->text;
    } else {
      test.call = text_of(field(item, "call"));
      const std::string op = text_of(field(item, "op"));
      if (op == "close") test.op = CodeTest::Op::kClose;
      if (op == "truthy") test.op = CodeTest::Op::kTruthy;
      if (op == "falsy") test.op = CodeTest::Op::kFalsy;
      if (const PyValue* tolerance = field(item, "tolerance")) test.tolerance = tolerance->number;
      // The report was read as plain JSON; the value inside carries tags.
      if (const PyValue* expected = field(item, "expected")) {
        test.expected = *expected;
        resolve_tags(test.expected);
      }
    }
    out.tests.push_back(std::move(test));
  }
}

std::vector<std::string> strings(const PyValue& value) {
  std::vector<std::string> out;
  if (value.kind == Kind::kString) out.push_back(value.text);
  for (const PyValue& item : value.items) out.push_back(text_of(&item));
  return out;
}

// The function that asserts call: the name right after "assert", through wrappers such as set(..),
// sorted(..), not.
std::string guess_entry(const PyValue& row, const std::vector<std::string>& sources) {
  // MBPP: the last function of the reference solution that an assert mentions.
  std::string entry;
  const std::string code = text_of(field(row, "code"));
  for (size_t at = code.find("def "); at != std::string::npos; at = code.find("def ", at + 4)) {
    if (at > 0 && code[at - 1] != '\n') continue;
    const size_t end = code.find('(', at);
    if (end == std::string::npos) break;
    std::string name = code.substr(at + 4, end - at - 4);
    name.erase(std::remove(name.begin(), name.end(), ' '), name.end());
    if (!sources.empty() && sources[0].find(name + "(") != std::string::npos) entry = name;
  }
  if (!entry.empty() || sources.empty()) return entry;
  static const std::vector<std::string> kWrappers = {
      "assert", "not", "set",   "sorted", "list", "tuple",   "dict",      "len", "abs",
      "str",    "int", "float", "round",  "math", "isclose", "frozenset", "sum", "bool"};
  const std::string& text = sources[0];
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
    i = end;
    while (end < text.size() && text[end] == ' ') ++end;
    if (end < text.size() && text[end] == '(' &&
        std::find(kWrappers.begin(), kWrappers.end(), word) == kWrappers.end())
      return word;
  }
  return "";
}

}  // namespace

std::string program_of_row(std::string_view row_json) {
  const PyValue row = parse_row(row_json);
  if (const PyValue* program = field(row, "program")) return text_of(program);
  if (const PyValue* completion = field(row, "completion"))
    return text_of(field(row, "prompt")) + text_of(completion);
  return "";
}

namespace {

// A list of {"input", "output"} as one object of "inputs" and "outputs".
PyValue columns_of(const PyValue& list) {
  const auto text = [](const char* name) {
    PyValue key;
    key.kind = Kind::kString;
    key.text = name;
    return key;
  };
  PyValue inputs, outputs, object;
  inputs.kind = outputs.kind = Kind::kList;
  object.kind = Kind::kDict;
  for (const PyValue& item : list.items) {
    const PyValue *input = field(item, "input"), *output = field(item, "output");
    if (input == nullptr || output == nullptr)
      fail("tests: an entry of the list lacks \"input\" or \"output\"", "give both in each");
    inputs.items.push_back(*input);
    outputs.items.push_back(*output);
  }
  object.items = {text("inputs"), std::move(inputs), text("outputs"), std::move(outputs)};
  return object;
}

// "tests" of a row, whatever it is wrapped in: JSON text is read, and a list of objects becomes
// columns. Null when the row has none.
const PyValue* tests_field(const PyValue& row, PyValue& storage) {
  const PyValue* tests = field(row, "tests");
  if (tests == nullptr) return nullptr;
  storage = *tests;
  if (tests->kind == Kind::kString) {
    const size_t first = tests->text.find_first_not_of(" \t\r\n");
    PyValue inner;
    if (first != std::string::npos && (tests->text[first] == '{' || tests->text[first] == '[') &&
        parse_value(tests->text, true, inner))
      storage = std::move(inner);
  }
  if (storage.kind == Kind::kList && !storage.items.empty() && storage.items[0].kind == Kind::kDict)
    storage = columns_of(storage);
  return &storage;
}

// The tests that need no Python; asserts are left in `sources`.
CodeTests read_tests(const PyValue& row, std::vector<std::string>& sources) {
  PyValue storage;
  const PyValue* tests = tests_field(row, storage);
  CodeTests out;
  if (const std::string language = text_of(either(row, tests, "language")); !language.empty()) {
    if (language != "python" && language != "cpp")
      fail("tests: language is \"" + language + "\"", "choose python or cpp");
    out.language = language;
  }
  out.entry = text_of(either(row, tests, "entry_point"));
  if (out.entry.empty()) out.entry = text_of(either(row, tests, "fn_name"));
  if (const PyValue* imports = either(row, tests, "test_imports")) {
    for (const std::string& line : strings(*imports)) out.setup += line + "\n";
  }
  out.setup += text_of(either(row, tests, "test_setup_code"));
  if (const PyValue* calls = either(row, tests, "calls")) {
    load_calls(out, *calls, either(row, tests, "expected_values"));
  } else if (const PyValue* inputs = either(row, tests, "inputs")) {
    const PyValue* outputs = either(row, tests, "outputs");
    if (out.entry.empty())
      load_programs(out, *inputs, outputs);
    else
      load_calls(out, *inputs, outputs);
  } else {
    for (const char* name : {"test_list", "asserts", "test", "check"}) {
      if (const PyValue* list = either(row, tests, name); sources.empty() && list != nullptr)
        sources = strings(*list);
    }
    if (sources.empty() && tests != nullptr &&
        (tests->kind == Kind::kString || tests->kind == Kind::kList))
      sources = strings(*tests);
    std::erase_if(sources, [](const std::string& source) {
      return source.find_first_not_of(" \t\r\n") == std::string::npos;
    });
    if (sources.empty()) {
      fail("the row has no tests",
           "give \"tests\" with calls and expected_values, inputs and outputs, or asserts");
    }
    if (out.entry.empty()) out.entry = guess_entry(row, sources);
  }
  if (out.language == "cpp" && (out.tests.empty() || out.tests[0].op != CodeTest::Op::kOutput)) {
    fail("tests: C++ programs take inputs and outputs only",
         "give \"inputs\" and \"outputs\" without fn_name");
  }
  return out;
}

}  // namespace

std::vector<LoadedTests> load_code_tests(const std::vector<std::string>& rows, SandboxPool& pool) {
  std::vector<LoadedTests> loaded(rows.size());
  std::vector<SandboxJob> jobs;
  std::vector<std::string> nonces;
  std::vector<size_t> places;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<std::string> sources;
    try {
      loaded[i].tests = read_tests(parse_row(rows[i]), sources);
    } catch (const Error& error) {
      loaded[i].error = error.what();
      continue;
    }
    if (sources.empty()) continue;
    nonces.push_back(make_nonce());
    places.push_back(i);
    jobs.push_back(make_rewrite_job(sources, loaded[i].tests.setup, loaded[i].tests.entry,
                                    nonces.back(), probe_sandbox().python));
  }
  const std::vector<SandboxResult> results = pool.run(jobs);
  for (size_t k = 0; k < jobs.size(); ++k) {
    try {
      take_asserts(loaded[places[k]].tests, results[k], nonces[k]);
    } catch (const Error& error) {
      loaded[places[k]].error = error.what();
    }
  }
  return loaded;
}

}  // namespace zeroth
