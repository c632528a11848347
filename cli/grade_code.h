// Shared by `zeroth grade --kind code` and `zeroth check code`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "rewards/code/code_grader.h"

namespace zeroth {

struct CodeGradingOptions {
  double time_limit = 3;
  int memory_mb = 512;
  int workers = 0;
  bool partial_credit = false;
  template <class V>
  void fields(V& v) {
    v("time_limit", time_limit, "seconds per program, time that it waits for a core not counted", Range{0.05, 600});
    v("memory_mb", memory_mb, "memory per program in MiB", Range{32, 65536});
    v("workers", workers, "sandboxes at a time; 0 = one per core", Range{0, 1024});
    v("partial_credit", partial_credit,
      "score the share of tests passed instead of all or nothing");
  }
  CodeOptions code_options() const;
};

struct CodeRow {
  std::string id;  // JSON text of the id, as it stood
  std::string text;
  std::string program;
  CodeTests tests;
  std::string error;  // the row is malformed: no verdict
};

// Reads the rows and their tests; rows that cannot be read carry their error.
std::vector<CodeRow> read_code_rows(const std::filesystem::path& path, SandboxPool& pool);

// Verdicts in order; malformed rows get Reason::kBadGold.
std::vector<CodeVerdict> grade_rows(const std::vector<CodeRow>& rows, const CodeOptions& options,
                                    SandboxPool& pool);

}  // namespace zeroth
