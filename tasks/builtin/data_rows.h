// Rows of public question sets: which columns hold the prompt and the reference answers, and which
// grader reads those answers.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

// A prompt as the row has it, and its reference answers.
struct DataRow {
  Json prompt;                     // a text, or chat messages [{"role", "content"}, ..]
  std::vector<std::string> golds;  // one or more; each is right by itself
  bool cut_assistant = false;      // the assistant's turns behind the question were left out
};

// Finds the columns of one row. Named columns win ("a.b" reaches into objects); without a name the
// first of the usual ones, in any case: prompt, question, problem, instruction, messages,
// conversations; reward_model.ground_truth (verl), answer, ground_truth, final_answer, solution,
// label, target, and the ground truth inside a conversation (ORZ). Throws Error that names `place`.
DataRow read_data_row(const Json& row, const std::string& prompt_column,
                      const std::string& answer_column, const std::string& place);

// The value at "a.b.c", or nullptr.
const Json* find_column(const Json& row, std::string_view path);

// "number", "math" or "text": the grader that reads these answers. Numbers (with "#### 15" or
// units) take the first, words without figures or signs the last, everything else mathematics.
std::string grader_for(const std::vector<const std::string*>& golds);

// Why `grader` cannot read the gold; empty when it can.
std::string gold_fault(const std::string& grader, const std::string& gold);

}  // namespace zeroth
