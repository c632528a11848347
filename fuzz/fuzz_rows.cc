// The readers of data files: JSON Lines or an array, whatever the bytes; questions with answers,
// Countdown rows, rows of code sets. Malformed rows are Errors, nothing else.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "core/error.h"
#include "rewards/code/code_columns.h"
#include "tasks/builtin/code_task.h"
#include "tasks/builtin/countdown_rows.h"
#include "tasks/builtin/data_task.h"
#include "tasks/rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zeroth;
  static const std::string path = "/tmp/zeroth_fuzz_rows_" + std::to_string(getpid()) + ".jsonl";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    DataTaskOptions options;
    options.path = path;
    options.held_out_every = 2;
    const DataTask task("jsonl", options);
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      for (int64_t i = 0; i < task.size(split); ++i) {
        const Problem problem = task.problem(split, i);
        task.grade(problem, task.gold_completion(problem), FinishReason::kStop);
      }
    }
  } catch (const Error&) {
  }
  try {
    for_each_row(path, [](const Json& row, const std::string& place) {
      try {
        const CountdownRow read = read_countdown_row(row, place);
        if (read.numbers.size() <= 4) is_solvable(read.numbers, read.target);
      } catch (const Error&) {
      }
    });
    for_each_row_text(path, [](const Json& row, std::string_view text, const std::string& place) {
      try {
        const RowTests tests = read_row_tests(text);
        read_code_row(row, text, tests.tests, place, 3, true);
      } catch (const Error&) {
      }
    });
  } catch (const Error&) {
  }
  return 0;
}
