// What can go wrong with a template.
#pragma once

#include <string>

#include "core/error.h"

namespace zeroth::jinja {

// The kinds that the reference (Jinja 3.1 as transformers drives it) tells apart, and two of our
// own: a budget that ran out, and a construct that is not read here.
enum class Fault {
  kRaised,       // raise_exception, called by the template
  kUndefined,    // an operation on something undefined
  kSyntax,       // the template itself
  kSecurity,     // what the sandbox forbids: changing a value, names with underscores
  kRuntime,      // any other failure of an operation
  kRecursion,    // macros or loops nested without an end
  kLimit,        // a budget of Limits
  kUnsupported,  // the reference would go on here; the message names the construct
};
const char* to_string(Fault fault);

// Thrown by parsing and rendering, for whatever the template does.
class TemplateError : public Error {
 public:
  TemplateError(Fault fault, const std::string& reason, int line, const std::string& source)
      : Error(ExitCode::kFailed,
              source + (line > 0 ? ", line " + std::to_string(line) : "") + ": " + reason, ""),
        fault_(fault),
        reason_(reason),
        line_(line) {}
  Fault fault() const { return fault_; }
  // Without source and line; of kRaised exactly what the template said.
  const std::string& reason() const { return reason_; }
  int line() const { return line_; }  // from 1; 0: unknown

 private:
  Fault fault_;
  std::string reason_;
  int line_;
};

// Thrown inside; the interpreter adds line and source.
struct Failure {
  Fault fault;
  std::string reason;
};
[[noreturn]] inline void fail_as(Fault fault, const std::string& reason) {
  throw Failure{fault, reason};
}
// Python's TypeError, ValueError and the like.
[[noreturn]] inline void fail_runtime(const std::string& reason) {
  throw Failure{Fault::kRuntime, reason};
}
[[noreturn]] inline void fail_unsupported(const std::string& construct) {
  throw Failure{Fault::kUnsupported, construct};
}

}  // namespace zeroth::jinja
