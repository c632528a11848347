// Programming problems: the response is a program, run in a sandbox against hidden tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rewards/code/code_grader.h"
#include "tasks/builtin/code_extract.h"
#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

// How programs are run; shared by all tasks that run some.
struct SandboxOptions {
  double time_limit = 10;
  double total_time_limit = 60;
  int memory_mb = 512;
  int workers = 0;
  bool partial_credit = false;
  std::string packages;
  template <class V>
  void fields(V& v) {
    v("time_limit", time_limit,
      "seconds of one test of a program, time that it waits for a core not counted; a row that "
      "names a longer time gets it",
      Range{0.05, 600});
    v("total_time_limit", total_time_limit, "seconds of all tests of a program together",
      Range{0.05, 36000});
    v("memory_mb", memory_mb, "memory of a program in MiB", Range{32, 65536});
    v("workers", workers, "sandboxes at a time; 0 = one per core", Range{0, 1024});
    v("partial_credit", partial_credit,
      "score the share of tests passed instead of all or nothing");
    v("packages", packages,
      "folders of Python packages, separated by :, for rows that need some (numpy); empty: those "
      "of "
      "the system");
  }
  CodeOptions code_options() const;
};

// A pool that is made once the sandbox of this machine is known to hold. Throws Error with the
// probe's text otherwise.
std::unique_ptr<SandboxPool> make_sandbox_pool(const SandboxOptions& options);

struct CodeTaskOptions : ResponseOptions, SandboxOptions {
  std::string path;
  std::string held_out_path;
  int held_out_every = 10;
  int show_tests = 1;
  std::string weak_tests = "use";
  template <class V>
  void fields(V& v) {
    v("path", path,
      "JSONL or JSON array of problems in the columns of a public set (docs/tasks.md lists them), "
      "or rows with a prompt and tests; .gz too");
    v("held_out_path", held_out_path,
      "file of held-out problems; training drops every prompt that occurs in it");
    v("held_out_every", held_out_every,
      "without held_out_path one problem in this many is held out, by its hash", Range{2, 1000000});
    v("show_tests", show_tests, "MBPP: tests that the prompt shows; all are graded", Range{0, 100});
    v("weak_tests", weak_tests,
      "tests that a submission could fool: use, mask (no reward from them), drop (leave such rows "
      "out)",
      Choice{{"use", "mask", "drop"}});
    SandboxOptions::fields(v);
    ResponseOptions::fields(v);
  }
};

// Tasks "humaneval", "mbpp" and "code". Verdicts: "accuracy" (facts tests, tests_right, weak) and
// "format". What the sandbox could not decide is Reason::kCheckerError with the fact fault:
// sandbox, tests (the row's tests say nothing) or weak_tests (masked as asked). Rows whose tests do
// not load are left out, said on standard error, and counted by skipped().
class CodeTask : public BatchTask {
 public:
  CodeTask(std::string name, CodeTaskOptions options);
  ~CodeTask() override;
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override { return true; }
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }
  bool grades_here() const override { return false; }
  // What is to know about the rows before training: which were left out and why, how many have weak
  // tests.
  std::vector<std::string> notes() const override;
  int skipped() const { return skipped_; }

 private:
  struct Row {
    std::string id, place, prompt, solution;  // prompt as the policy sees it
    ProgramShape shape;
    CodeTests tests;
  };
  void read();
  const Row& row_of(const Problem& problem) const;

  std::string name_;
  CodeTaskOptions options_;
  std::unique_ptr<SandboxPool> pool_;
  std::vector<Row> rows_;
  std::vector<size_t> index_[2];  // into rows_, by split
  int skipped_ = 0, total_ = 0, weak_ = 0;
  std::vector<std::string> reasons_;  // of skipped rows: the first few
};

// One verdict from what the sandbox said.
Verdict code_accuracy(const CodeVerdict& code, const std::string& program);

// What a row says besides its tests.
struct CodeRowText {
  std::string question;  // text of the problem
  Json messages;         // chat messages, or null
  ProgramShape shape;
  std::string solution;  // a program that solves it, empty when there is none
};
// `show_tests`: so many asserts of MBPP are shown. `text` is the row's JSON. Throws Error that
// names `place` when there is no question; `need_question` false: an empty one is fine.
CodeRowText read_code_row(const Json& row, std::string_view text, const CodeTests& tests,
                          const std::string& place, int show_tests, bool need_question = true);

}  // namespace zeroth
