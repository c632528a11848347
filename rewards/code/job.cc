#include "rewards/code/job.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/config.h"
#include "core/error.h"
#include "rewards/code/scripts.h"
#include "rewards/sandbox/sandbox_pool.h"

namespace zeroth {
namespace {

std::string quote(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string quote_all(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + quote(text);
  return "[" + list + "]";
}

const char* truth(bool value) { return value ? "true" : "false"; }

// Bytes of a value as the runner writes it, about.
int64_t size_of(const PyValue& value) {
  int64_t bytes = 12 + static_cast<int64_t>(value.text.size());
  for (const PyValue& item : value.items) bytes += size_of(item);
  return bytes;
}

// Reads what stands on standard input: its length in 16 hexadecimal digits, then code, compiled or
// (a text that starts with #) not.
constexpr const char* kBoot = R"(import marshal, posix
def take(n):
    parts = []
    while n > 0:
        part = posix.read(0, n)
        if not part:
            raise SystemExit(3)
        parts.append(part)
        n -= len(part)
    return b''.join(parts)
code = take(int(take(16), 16))
exec(code if code[:1] == b'#' else marshal.loads(code), {'__name__': 'judge'})
)";

constexpr const char* kCompile = R"(import marshal, os, sys
code = compile(sys.stdin.buffer.read(), 'judge.py', 'exec', 0, True, 2)
data = marshal.dumps(code).hex().encode()
while data:
    data = data[os.write(3, data):]
)";

std::string framed(const std::string& bytes) {
  char length[20];
  std::snprintf(length, sizeof(length), "%15zx\n", bytes.size());
  return length + bytes;
}

// Compiling takes Python longer than starting does, so it is done once, in a sandbox since Python
// is run there only. The text itself where that fails.
std::string compiled(const std::string& script, const std::string& python) {
  SandboxJob job;
  job.argv = {python, "-s", "-S", "-c", kCompile};
  job.input = script;
  job.limits.wall_seconds = 30;
  SandboxPool pool(1);  // not here: a killed trainer must leave no control group
  const SandboxResult result = pool.run({job})[0];
  if (result.status != SandboxResult::Status::kExited || result.exit_code != 0) return script;
  std::string bytes;
  for (size_t i = 0; i + 1 < result.report.size(); i += 2)
    bytes += static_cast<char>(std::stoi(result.report.substr(i, 2), nullptr, 16));
  return bytes.empty() ? script : bytes;
}

// Values and programs need less than tests that are Python.
const std::string& runner(bool judged, const std::string& python) {
  const auto text = [](std::initializer_list<const char*> parts) {
    std::string all = "#\n";
    for (const char* part : parts) all += part;
    return all;
  };
  if (judged) {
    static const std::string code = framed(
        compiled(text({kWireScript, kPeerScript, kPytestLiteScript, kHarnessScript, kRunnerScript}),
                 python));
    return code;
  }
  static const std::string code = framed(compiled(text({kWireScript, kRunnerScript}), python));
  return code;
}

const std::string& rewriter(const std::string& python) {
  static const std::string code = framed(compiled(std::string("#\n") + kRewriterScript, python));
  return code;
}

SandboxJob python_job(const std::string& python, std::string input) {
  SandboxJob job;
  // Not -I: it would ignore the environment, whose PYTHONHASHSEED makes the order of a set, and so
  // a verdict, the same each time. The environment is ours alone.
  job.argv = {python, "-s", "-S", "-c", kBoot};
  job.input = std::move(input);
  return job;
}

constexpr const char* kCompileAndRun = R"(cd /tmp
g++ -std=c++20 -O2 -pipe -o prog solution.cc 2>err.txt || { printf '%s program SyntaxError\n' "$1" >&3; exit 1; }
exec python3 -I -S driver.py
)";

std::string calls_of(const CodeTests& tests) {
  std::vector<std::string> calls;
  for (const CodeTest& test : tests.tests) {
    std::string call;
    if (test.call.empty()) {
      PyValue arguments;
      arguments.kind = PyValue::Kind::kList;
      arguments.items = test.arguments;
      call = json_text(arguments);
    } else {
      call = quote(test.call);
    }
    calls.push_back(std::move(call));
  }
  return quote_all(calls);
}

std::string inputs_of(const CodeTests& tests) {
  std::vector<std::string> inputs;
  for (const CodeTest& test : tests.tests) inputs.push_back(test.input);
  return quote_all(inputs);
}

// A program may print somewhat more than is expected. Powers of two, so that the bound tells it
// nothing about the answer.
int64_t most_output(const CodeTests& tests) {
  size_t longest = 0;
  for (const CodeTest& test : tests.tests) longest = std::max(longest, test.output.size());
  int64_t most = 1 << 20;
  while (most < static_cast<int64_t>(longest) * 2) most *= 2;
  return most;
}

// What the judging process may report: in JSON a character takes up to six bytes.
int64_t most_report(const CodeTests& tests) {
  int64_t bytes = 1 << 20;
  for (const CodeTest& test : tests.tests)
    bytes += 4 * size_of(test.expected) + 6 * static_cast<int64_t>(test.output.size());
  return bytes;
}

// Everything but the tests: what the process that will hold the submission may know.
std::string open_part(const CodeSubmission& submission, const std::vector<std::string>& packages) {
  const CodeTests& tests = *submission.tests;
  const char* kinds[] = {"values", "programs", "judged"};
  return std::string("{\"kind\": \"") + kinds[static_cast<int>(tests.kind)] +
         "\", \"program\": " + quote(submission.program) + ", \"entry\": " + quote(tests.entry) +
         ", \"setup\": " + quote(tests.setup) + ", \"given\": " + quote(tests.given) +
         ", \"prelude\": " + truth(tests.prelude) +
         ", \"keeps_classes\": " + truth(tests.keeps_classes) +
         ", \"captures\": " + truth(tests.captures) + ", \"packages\": " + quote_all(packages) +
         "}";
}

std::string hidden_part(const CodeTests& tests, const std::string& nonce, bool stop) {
  std::string text = "{\"nonce\": " + quote(nonce);
  switch (tests.kind) {
    case CodeTests::Kind::kValues:
      return text + ", \"calls\": " + calls_of(tests) + "}";
    case CodeTests::Kind::kPrograms:
      return text + ", \"inputs\": " + inputs_of(tests) +
             ", \"most_output\": " + std::to_string(most_output(tests)) +
             ", \"stop\": " + truth(stop) + "}";
    case CodeTests::Kind::kJudged:
      return text + ", " + tests.judged.substr(1);
  }
  return text + "}";
}

// Debian's numpy finds its library of linear algebra through links there.
std::vector<std::string> with_alternatives(std::vector<std::string> packages) {
  if (!packages.empty()) packages.emplace_back("/etc/alternatives");
  return packages;
}

}  // namespace

std::vector<std::string> system_packages() {
  std::vector<std::string> found;
  const auto add = [&](const std::filesystem::path& folder) {
    std::error_code error;
    if (std::filesystem::is_directory(folder, error)) found.push_back(folder.string());
  };
  std::error_code error;
  for (std::filesystem::directory_iterator at("/usr/local/lib", error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().starts_with("python3.")) {
      add(at->path() / "dist-packages");
      add(at->path() / "site-packages");
    }
  }
  std::sort(found.begin(), found.end());
  add("/usr/lib/python3/dist-packages");
  return found;
}

SandboxJob make_code_job(const CodeSubmission& submission, const std::string& nonce,
                         const CodeOptions& options, const std::string& python) {
  const CodeTests& tests = *submission.tests;
  const std::string hidden = hidden_part(tests, nonce, !options.partial_credit);
  SandboxJob job;
  if (tests.language == "cpp") {
    job.argv = {"/usr/bin/sh", "-c", kCompileAndRun, "sh", nonce};
    job.compile = true;
    job.files = {{"solution.cc", submission.program}, {"driver.py", kCppDriverScript}};
    job.input = hidden;
    job.limits = options.limits;
    job.limits.memory_bytes =
        std::max<int64_t>(job.limits.memory_bytes, int64_t{1} << 30);  // g++ needs room
    job.limits.start_seconds = kCompileSeconds;
  } else {
    std::vector<std::string> packages;
    if (tests.packages) packages = options.packages.empty() ? system_packages() : options.packages;
    job = python_job(python, runner(tests.kind == CodeTests::Kind::kJudged, python) +
                                 framed(open_part(submission, packages)) + framed(hidden));
    job.limits = options.limits;
    job.folders = with_alternatives(packages);
  }
  if (tests.time_limit > options.limits.wall_seconds)
    job.limits.wall_seconds += tests.time_limit - options.limits.wall_seconds;
  // The judging process says a line for every test; loading and, in C++, compiling is a stage too.
  job.stage_mark = nonce + " ";
  job.stages = tests.total() + 2;
  job.limits.total_seconds =
      std::max(options.total_seconds, job.limits.wall_seconds) + job.limits.start_seconds;
  job.limits.output_bytes = std::max(job.limits.output_bytes, most_report(tests));
  job.limits.scratch_bytes = std::max(job.limits.scratch_bytes, 4 * most_output(tests));
  return job;
}

SandboxJob make_rewrite_job(const std::vector<const TestSources*>& rows, const std::string& nonce,
                            const std::string& python) {
  constexpr int kSecondsOfRow = 10;
  std::string list;
  for (const TestSources* row : rows) {
    list += std::string(list.empty() ? "" : ", ") + "{\"sources\": " + quote_all(row->sources) +
            ", \"setup\": " + quote(row->setup) + ", \"entry\": " + quote(row->entry) +
            ", \"prompt\": " + quote(row->prompt) + ", \"reference\": " + quote(row->reference) +
            "}";
  }
  SandboxJob job = python_job(python, rewriter(python) + "{\"nonce\": " + quote(nonce) +
                                          ", \"seconds\": " + std::to_string(kSecondsOfRow) +
                                          ", \"packages\": " + quote_all(system_packages()) +
                                          ", \"rows\": [" + list + "]}");
  job.folders = with_alternatives(system_packages());
  job.limits.wall_seconds = 30 + kSecondsOfRow * static_cast<double>(rows.size());
  job.limits.output_bytes = 256 << 20;
  job.limits.memory_bytes = int64_t{2} << 30;
  return job;
}

}  // namespace zeroth
