// The reader of data files: JSON Lines or an array, whatever the bytes. Malformed rows are Errors,
// nothing else.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "core/error.h"
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
  return 0;
}
