// Builds sandbox jobs for submissions and for reading tests.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/code_grader.h"

namespace zeroth {

std::string make_nonce();  // 32 hex digits from the system

SandboxJob make_code_job(const CodeSubmission& submission, const std::string& nonce,
                         const CodeOptions& options, const std::string& python);

// Tests of one row that are Python; see rewriter.py.
struct TestSources {
  std::vector<std::string> sources;
  std::string setup, entry;
  std::string prompt;  // code that the problem gives: imports and helpers, empty when it is prose
  std::string reference;  // program that solves it, empty when the row has none
};

// The job that takes the tests of several rows apart.
SandboxJob make_rewrite_job(const std::vector<const TestSources*>& rows, const std::string& nonce,
                            const std::string& python);

// Folders of Python packages of this system; only those that are there.
std::vector<std::string> system_packages();

}  // namespace zeroth
