// Builds sandbox jobs for submissions and for reading tests.
#pragma once

#include <string>

#include "rewards/code/code_grader.h"

namespace zeroth {

std::string make_nonce();  // 32 hex digits from the system

SandboxJob make_code_job(const CodeSubmission& submission, const std::string& nonce,
                         const CodeOptions& options, const std::string& python);
// The job that takes asserts apart; see rewriter.py.
SandboxJob make_rewrite_job(const std::vector<std::string>& sources, const std::string& setup,
                            const std::string& entry, const std::string& nonce,
                            const std::string& python);

}  // namespace zeroth
