// Problems from data files: any prompt and answer columns, graded by number, mathematical
// equivalence or text.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tasks/builtin/data_source.h"
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
  std::string grader = "auto";
  std::string answer_place = "auto";
  std::string bad_rows = "error";
  std::string streaming = "auto";

  template <class V>
  void fields(V& v) {
    v("path", path, "JSONL file of problems, or a JSON array (.gz is read too)");
    v("held_out_path", held_out_path,
      "JSONL file of held-out problems; training drops every prompt that occurs in it");
    v("prompt_column", prompt_column,
      "column of the question, text or chat messages; a.b reaches into objects; empty: the first "
      "of prompt, question, problem, instruction, messages, conversations that the row has");
    v("answer_column", answer_column,
      "column of the reference answer, or of a list of answers of which each is right; empty: the "
      "first of reward_model.ground_truth (verl), answer, ground_truth, final_answer, solution, "
      "label, target that the row has");
    v("filter", filter, "COLUMN=VALUE keeps only such rows");
    v("held_out_every", held_out_every,
      "without held_out_path one problem in this many is held out, by its hash", Range{2, 1000000});
    v("grader", grader,
      "number (final number, exact), math (mathematical equivalence), text (equal up to case and "
      "blanks), auto (chosen from the reference answers, and said)",
      Choice{{"auto", "number", "math", "text"}});
    v("answer_place", answer_place,
      "where the response's answer is read: tags (answer block), text (all of it), auto (the block "
      "when there is one)",
      Choice{{"auto", "tags", "text"}});
    v("bad_rows", bad_rows,
      "rows without a usable prompt or answer: error names them before training, drop leaves them "
      "out, counted and said",
      Choice{{"error", "drop"}});
    v("streaming", streaming,
      "on reads rows as they are drawn, for files larger than memory (.jsonl, .parquet); off reads "
      "all of them first; auto streams more than 200,000 rows of Parquet or 1 GiB of lines",
      Choice{{"auto", "on", "off"}});
    ResponseOptions::fields(v);
  }
};

// Tasks "gsm8k" (number; answers end with "#### n"), "math" (MATH format: problem and answer, or a
// solution with \boxed{}) and "jsonl" (any columns that data_rows.h knows). Chat messages become
// text: with template chatml one turn each, else the contents joined by blank lines. The other
// columns of a row are kept in problem.meta; several reference answers in meta["golds"], a grader
// that was chosen from the answers of the file in meta["grader"]. Verdicts: "accuracy" and "format".
// Rows without the columns, or whose answer the grader cannot read, are an Error that names the
// first of them and how many there are, unless bad_rows=drop. notes() says which grader was chosen
// and how many rows were left out, and why. Large files are streamed (data_source.h).
class DataTask : public Task {
 public:
  DataTask(std::string name, DataTaskOptions options);
  ~DataTask() override;
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override { return !source().streams(); }
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }
  std::vector<std::string> notes() const override { return source().notes(); }

 private:
  // Opens the files at the first call; throws Error for a bad row. Grading needs no row.
  const DataSource& source() const;
  Verdict check_answer(const Problem& problem, const std::string& grader, const std::string& gold,
                       std::string_view answer) const;
  Verdict check_answers(const Problem& problem, std::string_view answer) const;

  std::string name_;
  DataTaskOptions options_;
  mutable std::once_flag read_;
  mutable std::unique_ptr<DataSource> source_;
};

}  // namespace zeroth
