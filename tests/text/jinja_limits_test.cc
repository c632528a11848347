// Templates that would not end, fill memory or overflow the stack: an error, soon.
#include <doctest/doctest.h>

#include "text/jinja/template.h"

namespace zeroth::jinja {
namespace {

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

// The kind of the error, or "text".
std::string outcome(const std::string& text, const Limits& limits = {}) {
  try {
    const Json variables = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
    Template::parse(text, "t").render(variables, {}, nullptr, limits);
    return "text";
  } catch (const TemplateError& error) {
    return to_string(error.fault());
  }
}

TEST_CASE("runaway templates end with an error") {
  for (const char* text :
       {"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 10 ** 10 ** 10 }}", "{{ 'x' * 10000000000 }}", "{{ [0] * 10000000000 }}",
        "{{ 'x' | center(10000000000) }}", "{{ 'x'.zfill(10000000000) }}",
        "{{ 'a\nb' | indent(10000000000) }}", "{{ {'a': [1]} | tojson(indent=1000000000) }}",
        "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(s=[0]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = "
        "ns.x.replace('a', 'aaaaaaaaaa') %}{% endfor %}",
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% "
        "endfor %}",
        "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{% if 'zz' in s %}{% endif %}{% "
        "endfor %}"}) {
    CAPTURE(text);
    CHECK(outcome(text) == "limit");
  }
}

TEST_CASE("deep nesting is refused before it could overflow the stack") {
  for (const std::string& text :
       {"{{ " + repeated("(", 3000) + "1" + repeated(")", 3000) + " }}",
        "{{ " + repeated("[", 3000) + repeated("]", 3000) + " }}",
        "{{ " + repeated("not ", 5000) + "1 }}", "{{ " + repeated("-", 5000) + "1 }}",
        "{{ 1" + repeated("+1", 5000) + " }}", "{{ 'a'" + repeated("|upper", 5000) + " }}",
        "{{ a" + repeated(".b", 5000) + " }}", "{{ 1 " + repeated("if 1 else 2 ", 5000) + "}}",
        repeated("{% if 1 %}", 3000) + repeated("{% endif %}", 3000)}) {
    CHECK(outcome(text) == "limit");
  }
  for (const char* text : {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
                           "{% for x in [[[]]] recursive %}{{ loop([x]) }}{% endfor %}",
                           "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
                           "{% macro f() %}{% call g() %}{{ f() }}{% endcall %}{% endmacro %}{% "
                           "macro g() %}{{ caller() }}{% endmacro %}{{ f() }}"}) {
    CAPTURE(text);
    CHECK(outcome(text) == "recursion");
  }
  // What real templates do stays possible: a schema 90 levels deep.
  CHECK(outcome("{% macro f(n) %}{% if n > 0 %}{% for x in [1] %}{{ '(' ~ f(n-1) ~ ')' }}{% endfor "
                "%}{% endif %}{% endmacro %}{{ f(90) }}") == "text");
}

TEST_CASE("values that hold themselves are freed") {
  CHECK(outcome("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a.0.a | length }}") ==
        "text");
  CHECK(
      outcome("{% set ns = namespace() %}{% macro f() %}{{ ns.f is defined }}{% endmacro %}{% set "
              "ns.f = f %}{{ f() }}") == "text");
}

TEST_CASE("budgets can be set") {
  Limits limits;
  limits.output_bytes = 10;
  CHECK(outcome("{{ 'x' * 10 }}", limits) == "text");
  CHECK(outcome("{{ 'x' * 11 }}", limits) == "limit");
  limits = {};
  limits.steps = 100;
  CHECK(outcome("{% for i in range(10) %}{{ i }}{% endfor %}", limits) == "text");
  CHECK(outcome("{% for i in range(100) %}{{ i }}{% endfor %}", limits) == "limit");
}

TEST_CASE("bytes that are no text are errors") {
  CHECK(outcome("\xff{{ 1 }}") == "syntax");
  const Json variables = {{"x", "\xc3"}};
  CHECK_THROWS_AS(Template::parse("{{ x }}", "t").render(variables, {}), TemplateError);
}

TEST_CASE("errors name source and line") {
  try {
    Template::parse("a\n{{ 1 +\n nope.x }}", "some template").render(Json::object(), {});
    FAIL("no error");
  } catch (const TemplateError& error) {
    CHECK(std::string(error.what()) == "some template, line 2: 'nope' is undefined");
    CHECK(error.line() == 2);
  }
}

TEST_CASE("dates: what is read and written") {
  const DateTime date = parse_date("2026-03-07T09:05:04", "t");
  CHECK(to_string(date) == "2026-03-07T09:05:04");
  CHECK(to_string(parse_date("2024-02-29", "t")) == "2024-02-29T00:00:00");
  for (const char* wrong : {"2023-02-29", "7 Mar 2026", "2026-13-01", "2026-03-07T24:00:00",
                            "2026-03-07 09:05:04", "2026-3-7", ""}) {
    CHECK_THROWS_AS(parse_date(wrong, "t"), Error);
  }
}

}  // namespace
}  // namespace zeroth::jinja
