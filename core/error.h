// The one exception type of the project.
#pragma once

#include <stdexcept>
#include <string>

namespace zeroth {

// Exit codes of the command line (docs/cli.md).
enum class ExitCode { kOk = 0, kFailed = 1, kUsage = 2 };

// Says what went wrong, with the offending value, and how to fix it. Everything that a user can
// cause is thrown as this type and printed by cli/main.cc as one message; any other exception is a
// defect.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what, const std::string& fix)
      : std::runtime_error(fix.empty() ? what : what + "\n  fix: " + fix), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// The work failed: a bad file, a full disk, a numeric fault. Exit code 1.
// `what` names the file or field and the value; `fix` is an instruction to the reader.
[[noreturn]] inline void fail(const std::string& what, const std::string& fix = "") {
  throw Error(ExitCode::kFailed, what, fix);
}

// The request was wrong: an unknown flag, a value out of range, a malformed config. Exit code 2.
[[noreturn]] inline void fail_usage(const std::string& what, const std::string& fix = "") {
  throw Error(ExitCode::kUsage, what, fix);
}

}  // namespace zeroth
