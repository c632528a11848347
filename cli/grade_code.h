// Shared by `zeroth grade --kind code` and `zeroth check code`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/builtin/code_task.h"

namespace zeroth {

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
