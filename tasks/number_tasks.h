// Questions with a final number: GSM8K's format, and any JSONL with a prompt and an answer.
#pragma once

#include <string>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct NumberTaskOptions : ResponseOptions {
  std::string path;
  std::string held_out_path;
  std::string prompt_column;
  std::string answer_column;
  int held_out_every = 10;
  std::string answer_place = "auto";

  template <class V>
  void fields(V& v) {
    v("path", path, "JSONL file of problems (.gz is read too)");
    v("held_out_path", held_out_path,
      "JSONL file of held-out problems; training drops every prompt that occurs in it");
    v("prompt_column", prompt_column, "column of the question; empty: the task's own");
    v("answer_column", answer_column, "column of the reference answer; empty: the task's own");
    v("held_out_every", held_out_every,
      "without held_out_path one problem in this many is held out, by its hash", Range{2, 1000000});
    v("answer_place", answer_place,
      "where the response's number is read: tags (answer block), text (last number, or after "
      "####), auto (the block "
      "when there is one, else the text)",
      Choice{{"auto", "tags", "text"}});
    ResponseOptions::fields(v);
  }
};

// Names "gsm8k" (columns question and answer, the answer ends with "#### n") and "jsonl" (columns
// prompt and answer). Verdicts: "accuracy" (final number, compared exactly) and "format". A row
// whose answer holds no number is an Error that names the line.
class NumberTask : public Task {
 public:
  NumberTask(std::string name, NumberTaskOptions options);
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }

 private:
  struct Row {
    std::string question, answer, id;
  };
  std::string name_;
  NumberTaskOptions options_;
  std::vector<Row> rows_[2];
};

}  // namespace zeroth
