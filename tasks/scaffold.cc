#include "tasks/scaffold.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "tasks/plugins/plugin_header.h"

namespace zeroth {
namespace {

// NAME and CLASS are filled in.
constexpr std::string_view kPython =
    R"(# A Zeroth task: one JSON line in, one JSON line out. Messages to people go to standard error.
import json, random, sys, zlib


# The same problem for the same index, and no problem in both splits.
def problem(split, index):
    rng = random.Random(f"{split} {index}")
    while True:
        word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6))
        if (zlib.crc32(word.encode()) % 8 == 0) == (split == "held_out"):
            return {"prompt": f"Reverse {word}", "answer": word[::-1]}


# item["completion"] is all that the policy wrote, item["answer"] its one answer block, or None.
def grade(item):
    return {"score": float(item["answer"] == item["problem"]["answer"])}


for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        reply = {"name": "NAME", "train": 10000, "held_out": 1000}
    elif m["op"] == "problems":
        reply = {"problems": [problem(m["split"], i) for i in m["indices"]]}
    else:
        reply = {"results": [grade(item) for item in m["batch"]]}
    print(json.dumps({"id": m["id"], **reply}), flush=True)
)";

constexpr std::string_view kLibrary =
    R"(/* A Zeroth task as a shared library; plugin_abi.h has the rules. */
#include <stdio.h>
#include <string.h>

#include "plugin_abi.h"

static char prompt[64], answer[32]; /* valid until the next call: there is one thread */

static int64_t count(void* state, int split) { return split == ZEROTH_TRAIN ? 9000 : 1000; }

/* Sums; every tenth pair of numbers is held out. */
static int problem(void* state, int split, int64_t i, zeroth_problem* out) {
  const long pair = (long)(split == ZEROTH_TRAIN ? i + i / 9 + 1 : 10 * i);
  const long a = pair / 100, b = pair % 100;
  out->prompt.data = prompt;
  out->prompt.size = (size_t)snprintf(prompt, sizeof prompt, "%ld+%ld=", a, b);
  out->answer.data = answer;
  out->answer.size = (size_t)snprintf(answer, sizeof answer, "%ld", a + b);
  return 0;
}

static int grade(void* state, const zeroth_problem* p, zeroth_text completion, zeroth_text given,
                 int finish, zeroth_result* out) {
  out->score = given.size > 0 && given.size == p->answer.size &&
               memcmp(given.data, p->answer.data, given.size) == 0;
  return 0;
}

static const zeroth_plugin plugin = {ZEROTH_PLUGIN_ABI, sizeof(zeroth_plugin), "NAME", NULL, NULL,
                                     count, problem, grade};
const zeroth_plugin* zeroth_plugin_v1(void) { return &plugin; }
)";

constexpr std::string_view kHeader = R"(#pragma once

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct CLASSOptions : ResponseOptions {
  int letters = 4;
  template <class V>
  void fields(V& v) {
    v("letters", letters, "length of a word", Range{2, 64});
    ResponseOptions::fields(v);
  }
};

// Reverse a word of random letters.
class CLASSTask : public Task {
 public:
  explicit CLASSTask(CLASSOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "NAME"; }
  int64_t size(Split) const override { return int64_t{1} << 31; }
  Problem problem(Split split, int64_t index) const override;
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override {
    return options_.wrap_answer(problem.answer);
  }
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }

 private:
  CLASSOptions options_;
};

}  // namespace zeroth
)";

constexpr std::string_view kSource = R"(#include "tasks/NAME_task.h"

#include "core/rng.h"

namespace zeroth {

// The same index must always give the same problem, and no problem may be in both splits.
Problem CLASSTask::problem(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  Rng rng(StreamKey{held_out ? 1u : 0u, 0, static_cast<uint32_t>(index), 0});
  std::string word;
  do {
    word.clear();
    for (int i = 0; i < options_.letters; ++i) word += static_cast<char>('a' + rng.below(26));
  } while (is_held_out(word, 8) != held_out);
  Problem problem;
  problem.task = name();
  problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = options_.render("Reverse " + word);
  problem.answer = std::string(word.rbegin(), word.rend());
  return problem;
}

// Never throws and never hangs, whatever the policy wrote.
std::vector<Verdict> CLASSTask::grade(const Problem& problem, std::string_view completion,
                                      FinishReason finish) const {
  const ResponseParts parts = split_response(completion, options_.format_rules());
  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.info = Json::object();
  accuracy.extracted = std::string(parts.answer.substr(0, 4096));
  if (parts.reason != Reason::kNone) {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
  } else {
    accuracy.score = parts.answer == problem.answer ? 1 : 0;
    accuracy.reason = accuracy.score == 1 ? Reason::kCorrect : Reason::kWrong;
  }
  return options_.verdicts(std::move(accuracy), completion, finish);
}

}  // namespace zeroth
)";

constexpr std::string_view kTest = R"(#include "tasks/NAME_task.h"

#include <doctest/doctest.h>

#include "tasks/task_check.h"

using namespace zeroth;

TEST_CASE("NAME: fit for training") {
  const CLASSTask task{CLASSOptions{}};
  const TaskCheck check = check_task(task, 100);
  CHECK_MESSAGE(check.passed(), check.to_text());
}
)";

std::string class_name(const std::string& name) {
  std::string out;
  bool upper = true;
  for (const char c : name) {
    if (c == '_') {
      upper = true;
    } else {
      out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      upper = false;
    }
  }
  return out;
}

std::string filled(std::string_view text, const std::string& name) {
  std::string out(text);
  for (const auto& [place, value] :
       {std::pair<std::string, std::string>{"NAME", name}, {"CLASS", class_name(name)}}) {
    for (size_t at = out.find(place); at != std::string::npos;
         at = out.find(place, at + value.size())) {
      out.replace(at, place.size(), value);
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> write_task_scaffold(const std::filesystem::path& root,
                                             const std::string& name, const std::string& language) {
  const bool letters = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (name.empty() || name.size() > 40 || !letters || name[0] < 'a') {
    fail_usage("task name \"" + name + "\"",
               "use lower-case letters, digits and underscores, a letter first");
  }
  std::vector<std::pair<std::filesystem::path, std::string>> files;
  if (language == "cpp") {
    files = {{root / "tasks" / (name + "_task.h"), filled(kHeader, name)},
             {root / "tasks" / (name + "_task.cc"), filled(kSource, name)},
             {root / "tests" / "tasks" / (name + "_task_test.cc"), filled(kTest, name)}};
  } else if (language == "python") {
    files = {{root / (name + ".py"), filled(kPython, name)}};
  } else if (language == "so") {
    files = {{root / (name + ".c"), filled(kLibrary, name)},
             {root / "plugin_abi.h", kPluginHeader}};
  } else {
    fail_usage("language \"" + language + "\"", "use cpp, python or so");
  }
  // The header is the same for every task of a folder.
  std::erase_if(files, [](const auto& file) {
    return file.first.filename() == "plugin_abi.h" && std::filesystem::exists(file.first) &&
           read_file(file.first) == file.second;
  });
  for (const auto& [path, text] : files) {
    if (std::filesystem::exists(path))
      fail(path.string() + " exists", "choose another name, or remove it first");
  }
  std::vector<std::string> written;
  for (const auto& [path, text] : files) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    write_file_atomic(path, text);
    written.push_back(path.string());
  }
  return written;
}

std::string scaffold_next_steps(const std::filesystem::path& root, const std::string& name,
                                const std::string& language) {
  const std::string type = class_name(name);
  if (language == "python") {
    return "next:\n      zeroth task check 'process:command=python3 " +
           (root / (name + ".py")).lexically_normal().string() + "'";
  }
  if (language == "so") {
    const std::string library = (root / (name + ".so")).lexically_normal().string();
    return "next:\n      cc -O2 -shared -fPIC -o " + library + " " +
           (root / (name + ".c")).lexically_normal().string() +
           "\n      zeroth task check so:path=" + library;
  }
  return "next: in tasks/task.cc include \"tasks/" + name + "_task.h\" and add to the table\n" +
         "      entry<" + type + "Task, " + type + "Options>(\"" + name +
         "\", \"what it asks for\"),\n" + "      then build and run\n" +
         "      zeroth task check " + name;
}

}  // namespace zeroth
