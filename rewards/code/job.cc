#include "rewards/code/job.h"

#include "core/config.h"
#include "core/error.h"
#include "rewards/code/scripts.h"

namespace zeroth {
namespace {

std::string quote(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Plain JSON of an argument; nlohmann would round large integers.
void append(std::string& out, const PyValue& value) {
  switch (value.kind) {
    case PyValue::Kind::kNone:
      out += "null";
      return;
    case PyValue::Kind::kBool:
      out += value.boolean ? "true" : "false";
      return;
    case PyValue::Kind::kInt:
      out += value.text;
      return;
    case PyValue::Kind::kFloat:
      out += Json(value.number).dump();
      return;
    case PyValue::Kind::kString:
      out += quote(value.text);
      return;
    case PyValue::Kind::kDict:
      out += '{';
      for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
        if (i > 0) out += ',';
        append(out, value.items[i]);
        out += ':';
        append(out, value.items[i + 1]);
      }
      out += '}';
      return;
    default:
      out += '[';
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) out += ',';
        append(out, value.items[i]);
      }
      out += ']';
  }
}

SandboxJob python_job(const std::string& python, const char* script, std::string input) {
  SandboxJob job;
  // Not -I: it would ignore the environment, whose PYTHONHASHSEED makes the order of a set, and so
  // a verdict, the same each time. The environment is ours alone.
  job.argv = {python, "-s", "-S", "-c", script};
  job.input = std::move(input);
  return job;
}

constexpr const char* kCompileAndRun = R"(cd /tmp
g++ -std=c++20 -O2 -pipe -o prog solution.cc 2>err.txt || { printf '%s program SyntaxError\n' "$1" >&3; exit 1; }
exec python3 -I -S driver.py
)";

}  // namespace

SandboxJob make_code_job(const CodeSubmission& submission, const std::string& nonce,
                         const CodeOptions& options, const std::string& python) {
  const CodeTests& tests = *submission.tests;
  const bool stdio = !tests.tests.empty() && tests.tests[0].op == CodeTest::Op::kOutput;
  std::string input = "{\"nonce\": " + quote(nonce) +
                      ", \"kind\": " + (stdio ? "\"stdio\"" : "\"calls\"") +
                      ", \"program\": " + quote(submission.program) +
                      ", \"entry\": " + quote(tests.entry) + ", \"setup\": " + quote(tests.setup);
  std::string calls, weak, inputs;
  for (const CodeTest& test : tests.tests) {
    std::string& list = test.op == CodeTest::Op::kWeak ? weak : stdio ? inputs : calls;
    if (!list.empty()) list += ", ";
    if (stdio) {
      list += quote(test.input);
    } else if (!test.call.empty()) {
      list += quote(test.call);
    } else {
      PyValue arguments;
      arguments.kind = PyValue::Kind::kList;
      arguments.items = test.arguments;
      append(list, arguments);
    }
  }
  input += ", \"calls\": [" + calls + "], \"weak\": [" + weak + "], \"inputs\": [" + inputs + "]}";
  if (tests.language == "cpp") {
    SandboxJob job;
    job.argv = {"/usr/bin/sh", "-c", kCompileAndRun, "sh", nonce};
    job.compile = true;
    job.files = {{"solution.cc", submission.program}, {"driver.py", kCppDriverScript}};
    job.input = input;
    job.limits = options.limits;
    job.limits.memory_bytes =
        std::max<int64_t>(job.limits.memory_bytes, int64_t{1} << 30);  // g++ needs room
    job.limits.wall_seconds += kCompileSeconds;
    return job;
  }
  SandboxJob job = python_job(python, kRunnerScript, input);
  job.limits = options.limits;
  return job;
}

SandboxJob make_rewrite_job(const std::vector<std::string>& sources, const std::string& setup,
                            const std::string& entry, const std::string& nonce,
                            const std::string& python) {
  std::string list;
  for (const std::string& source : sources) list += (list.empty() ? "" : ", ") + quote(source);
  const std::string input = "{\"nonce\": " + quote(nonce) + ", \"setup\": " + quote(setup) +
                            ", \"entry\": " + (entry.empty() ? "null" : quote(entry)) +
                            ", \"sources\": [" + list + "]}";
  SandboxJob job = python_job(python, kRewriterScript, input);
  job.limits.wall_seconds = 30;
  job.limits.output_bytes = 16 << 20;
  return job;
}

}  // namespace zeroth
