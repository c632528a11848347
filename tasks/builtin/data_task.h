// Problems from a JSONL file: any prompt and answer columns, graded by number, mathematical
// equivalence or text.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct DataTaskOptions : ResponseOptions {
  std::string path;
  std::string held_out_path;
  std::string prompt_column;
  std::string answer_column;
  std::string filter;
  int held_out_every = 10;
  std::string grader = "number";
  std::string answer_place = "auto";

  template <class V>
  void fields(V& v) {
    v("path", path, "JSONL file of problems, or a JSON array (.gz is read too)");
    v("held_out_path", held_out_path,
      "JSONL file of held-out problems; training drops every prompt that occurs in it");
    v("prompt_column", prompt_column,
      "column of the question, text or chat messages; a.b reaches into objects; empty: the first "
      "of prompt, question, "
      "problem, instruction that the rows have");
    v("answer_column", answer_column,
      "column of the reference answer; empty: the first of reward_model.ground_truth (verl), "
      "answer, ground_truth, "
      "solution, label, target that the rows have");
    v("filter", filter, "COLUMN=VALUE keeps only such rows");
    v("held_out_every", held_out_every,
      "without held_out_path one problem in this many is held out, by its hash", Range{2, 1000000});
    v("grader", grader,
      "number (final number, exact), math (mathematical equivalence), text (equal up to case and "
      "blanks)",
      Choice{{"number", "math", "text"}});
    v("answer_place", answer_place,
      "where the response's answer is read: tags (answer block), text (all of it), auto (the block "
      "when there is one)",
      Choice{{"auto", "tags", "text"}});
    ResponseOptions::fields(v);
  }
};

// Tasks "gsm8k" (number; answers end with "#### n"), "math" (MATH format: problem and answer, or a
// solution with \boxed{}) and "jsonl". Chat messages become text: with template chatml one turn
// each, else the contents joined by blank lines. The other columns of a row are kept in
// problem.meta. Verdicts: "accuracy" and "format". Rows without the columns, or a number task whose
// answer holds no number, are Errors that name file and line.
class DataTask : public Task {
 public:
  DataTask(std::string name, DataTaskOptions options);
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override { return true; }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }

 private:
  struct Row {
    std::string prompt, answer, id;
    Json meta;
    ProblemOrigin origin;
  };
  void read(const std::string& path, const std::function<void(Row)>& take) const;
  // Reads the files at the first call; throws Error for a bad row. Grading needs no row.
  const std::vector<Row>& rows(Split split) const;
  void read_all() const;
  Verdict check_answer(const Problem& problem, std::string_view answer) const;

  std::string name_;
  DataTaskOptions options_;
  mutable std::once_flag read_;
  mutable std::vector<Row> rows_[2];
};

}  // namespace zeroth
