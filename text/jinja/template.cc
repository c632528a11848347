#include "text/jinja/template.h"

#include <ctime>
#include <new>

#include "text/jinja/interpreter_parts.h"
#include "text/jinja/parser.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

constexpr size_t kMaxTemplate = size_t{1} << 20;

int days_in(int year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

std::tm broken_down(const DateTime& date) {
  std::tm out{};
  out.tm_year = date.year - 1900;
  out.tm_mon = date.month - 1;
  out.tm_mday = date.day;
  out.tm_hour = date.hour;
  out.tm_min = date.minute;
  out.tm_sec = date.second;
  std::tm copy = out;
  const std::time_t seconds = timegm(&copy);  // fills day of week and of year
  gmtime_r(&seconds, &out);
  return out;
}

}  // namespace

DateTime parse_date(const std::string& text, const std::string& what) {
  DateTime date;
  int used = 0;
  const int fields = std::sscanf(text.c_str(), "%4d-%2d-%2d%nT%2d:%2d:%2d", &date.year, &date.month,
                                 &date.day, &used, &date.hour, &date.minute, &date.second);
  const bool form = (fields == 3 && text.size() == 10) || (fields == 6 && text.size() == 19);
  const bool valid = form && date.year >= 1000 && date.month >= 1 && date.month <= 12 &&
                     date.day >= 1 && date.day <= days_in(date.year, date.month) &&
                     date.hour >= 0 && date.hour <= 23 && date.minute >= 0 && date.minute <= 59 &&
                     date.second >= 0 && date.second <= 59;
  if (!valid) {
    fail_usage(what + " is \"" + text + "\"",
               "give a date as 2026-03-07, or with a time as 2026-03-07T09:05:04");
  }
  return date;
}

std::string to_string(const DateTime& date) {
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", date.year, date.month, date.day,
                date.hour, date.minute, date.second);
  return text;
}

DateTime current_date() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return {local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,
          local.tm_hour,        local.tm_min,     std::min(local.tm_sec, 59)};
}

std::string formatted_date(const DateTime& date, const std::string& format) {
  const std::tm parts = broken_down(date);
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    std::string directive = "%";
    if (format[i + 1] == '-' && i + 2 < format.size()) directive += format[++i];
    const char kind = format[++i];
    directive += kind;
    constexpr std::string_view kKnown = "aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyY%";
    if (kind == 'f') {
      out += "000000";
    } else if (kind == 'z' || kind == 'Z') {  // a date without time zone
    } else if (kKnown.find(kind) == std::string_view::npos) {
      fail_unsupported("the directive " + directive + " of strftime_now");
    } else {
      char text[128];
      out.append(text, std::strftime(text, sizeof text, directive.c_str(), &parts));
    }
  }
  return out;
}

struct Template::Impl {
  std::string source;
  Tree tree;
};

Template::Template(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Template Template::parse(std::string_view text, const std::string& source) {
  if (text.size() > kMaxTemplate) {
    throw TemplateError(Fault::kLimit,
                        "the template has " + std::to_string(text.size()) + " bytes, more than " +
                            std::to_string(kMaxTemplate),
                        0, source);
  }
  if (!is_valid_utf8(text)) {
    throw TemplateError(Fault::kSyntax, "the template is not valid UTF-8", 0, source);
  }
  auto impl = std::make_unique<Impl>();
  impl->source = source;
  impl->tree = parse_template(text, source);
  return Template(std::move(impl));
}

const std::vector<std::string>& Template::inputs() const { return impl_->tree.inputs; }

std::string Template::render(const Json& variables, const DateTime& now,
                             std::vector<GenerationSpan>* spans, const Limits& limits) const {
  try {
    Interpreter interpreter(impl_->source, variables, now, limits);
    std::string out = interpreter.run(impl_->tree);
    if (spans != nullptr) *spans = interpreter.spans();
    return out;
  } catch (const std::bad_alloc&) {
    throw TemplateError(Fault::kLimit, "no memory is left", 0, impl_->source);
  }
}

}  // namespace zeroth::jinja
