// Jinja templates as Hugging Face checkpoints use them for chats, run within bounds.
//
// The language is Jinja 3.1 in the environment that transformers makes (chat_template_utils.py of
// 5.24): immutable sandbox, trim_blocks, lstrip_blocks, loop controls, the generation tag, tojson
// without HTML escapes, raise_exception, strftime_now. What a template renders is equal to theirs;
// what is not read here is refused by name (Fault::kUnsupported).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/jinja/error.h"
#include "text/jinja/limits.h"

namespace zeroth::jinja {

// What strftime_now sees: a date and time of day, valid in the proleptic Gregorian calendar.
struct DateTime {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;
};
// "2026-03-07" or "2026-03-07T09:05:04". Throws a usage Error naming `what` otherwise.
DateTime parse_date(const std::string& text, const std::string& what);
std::string to_string(const DateTime& date);  // "2026-03-07T09:05:04"
DateTime current_date();                      // of this machine, local time

// Text inside a generation block: [begin, end) in code points.
struct GenerationSpan {
  int64_t begin = 0, end = 0;
};

// Immutable; render is thread safe.
class Template {
 public:
  // Throws TemplateError naming `source`.
  static Template parse(std::string_view text, const std::string& source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Names that the template may ask its input for, its own functions among them.
  const std::vector<std::string>& inputs() const;
  // The text for the variables, the members of an object. Throws TemplateError. Bounded by `limits`
  // in time, memory and stack, whatever template and variables are.
  std::string render(const Json& variables, const DateTime& now,
                     std::vector<GenerationSpan>* spans = nullptr, const Limits& limits = {}) const;

 private:
  struct Impl;
  explicit Template(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::jinja
