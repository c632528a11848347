#include "inspect/query.h"

#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include "core/rng.h"

using namespace zeroth;

namespace {

QueryError error_of(const std::string& query) {
  const auto result = compile_query(query, {"mine"});
  REQUIRE(std::holds_alternative<QueryError>(result));
  return std::get<QueryError>(result);
}

CompiledQuery compiled(const std::string& query) {
  const auto result = compile_query(query, {"mine"});
  if (const auto* error = std::get_if<QueryError>(&result)) FAIL(error->with_caret(query));
  return std::get<CompiledQuery>(result);
}

}  // namespace

TEST_CASE("errors point at the place") {
  CHECK(error_of("step>").at == 5);
  CHECK(error_of("step>80 rewad=1").at == 8);
  CHECK(error_of("step>80 rewad=1").what.find("\"reward\"") != std::string::npos);
  CHECK(error_of("step>abc").at == 5);
  CHECK(error_of("(step>1").at == 0);
  CHECK(error_of("step>1)").at == 6);
  CHECK(error_of("text~\"open").at == 5);
  CHECK(error_of("step>1 or").at == 9);
  CHECK(error_of("finish=done").at == 7);
  CHECK(error_of("task>countdown").at == 5);
  CHECK(error_of("reward~1").at == 0);
  CHECK(error_of("\"...\"").at == 0);
  CHECK(error_of("=3").at == 0);
  CHECK(error_of("not (\"a b\" step>1)").at == 4);
  CHECK(error_of(std::string(5000, 'a')).what.find("4096") != std::string::npos);
  CHECK(error_of(std::string(3000, '(')).what.find("deep") != std::string::npos);
  CHECK(error_of("step>80 rewad=1").with_caret("step>80 rewad=1").find("\n          ^") !=
        std::string::npos);
}

TEST_CASE("what a query compiles to") {
  CHECK(compiled("").where == "1");
  CHECK(compiled("len>2k correct=1").where ==
        "s.len > 2000 AND (s.flags & 1) BETWEEN 0.99999899999999997 AND 1.0000009999999999");
  CHECK(compiled("flips>1 or len<2 and aha>0").where == "(s.wr > 1 OR s.len < 2 AND s.aha > 0)");
  CHECK(compiled("not (flips>1 or len<=5)").where == "NOT ((s.wr > 1 OR s.len <= 5))");
  CHECK_FALSE(compiled("len>2k").uses_groups);
  CHECK(compiled("zero=1").uses_groups);
  CHECK(compiled("wait").verify.empty());
  CHECK(compiled("text~\"wait\"").verify.empty());
  CHECK(compiled("text~\"wait no\"").verify.size() == 1);
  CHECK(compiled("not \"wait no\"").verify[0].negated);
  CHECK(compiled("not \"wait no\"").where == "NOT (0)");
  CHECK(compiled("not \"wait no\"").values.empty());
  CHECK_FALSE(compiled("\"wait no\" or step>1").exact);
  CHECK(compiled("mine>2").values.size() == 1);
  // Words that every hit must hold drive the search; others are conditions.
  CHECK(compiled("wait len>5 no").match == "\"wait\" AND \"no\"");
  CHECK(compiled("wait len>5 no").where == "s.len > 5");
  CHECK(compiled("wait or len>5").match.empty());
  CHECK(compiled("wait or len>5").values.size() == 1);
  CHECK(compiled("not wait len>5").match.empty());
  CHECK(compiled("(wait or no) ok").match == "\"ok\"");
  CHECK(compiled("wait step>5").where.rfind("texts.rowid >= ", 0) == 0);
  CHECK(compiled("step>5").where.rfind("s.id >= ", 0) == 0);
  // Nothing that a user writes becomes SQL.
  CHECK(compiled("task=\"x' OR 1=1 --\"").where.find("OR 1") == std::string::npos);
  CHECK(compiled("\"a\\\"b\"").match == "\"a\" AND \"b\"");
}

TEST_CASE("any bytes: an answer, never a crash") {
  Rng rng(4, 4);
  const std::string alphabet = "step>1 ()\"~=!<nor\\wait\xff\xc3 0k*";
  for (int trial = 0; trial < 20000; ++trial) {
    std::string query;
    for (uint32_t i = rng.below(40); i > 0; --i)
      query += alphabet[rng.below(static_cast<uint32_t>(alphabet.size()))];
    const auto result = compile_query(query, {});
    if (const auto* error = std::get_if<QueryError>(&result)) {
      CHECK(error->at <= query.size());
      CHECK_FALSE(error->with_caret(query).empty());
    }
  }
}

TEST_CASE("phrases") {
  CHECK(contains_phrase("so Wait, no", "wait, no"));
  CHECK_FALSE(contains_phrase("await no", "wait"));
  CHECK_FALSE(contains_phrase("waiting", "wait"));
  CHECK(contains_phrase("waiting", "wait*"));
  CHECK(contains_phrase("9+6=15->24no", "6=15"));
  CHECK_FALSE(contains_phrase("9+6=150", "6=15"));
}
