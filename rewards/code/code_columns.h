// Where public data sets keep the tests of a row, and in which wrapping.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/code_grader.h"
#include "rewards/code/job.h"

namespace zeroth {

// A row read: tests without Python are complete in `tests`; others are in `sources`.
struct RowTests {
  CodeTests tests;
  TestSources python;  // empty `sources`: nothing to take apart
};

// `json`: one object. Throws Error that names the column when there are no tests or they cannot be
// understood.
RowTests read_row_tests(std::string_view json);

// The code of a row beside its tests.
struct RowCode {
  std::string given;      // what the problem gives of the program (HumanEval's prompt); else empty
  std::string reference;  // a program that solves it, in `language`; empty when the row has none
};
RowCode code_of_row(const PyValue& row);

// The field of an object by its name, null when there is none.
const PyValue* field(const PyValue& object, std::string_view name);

// Test cases of LiveCodeBench: base64 of zlib of a pickled text. Empty when it is none, or when it
// unpacks to more than 1 GiB.
std::string unpack_cases(std::string_view packed);

}  // namespace zeroth
