#include <doctest/doctest.h>

#include <set>

#include "tasks/builtin/knights.h"
#include "tasks/builtin/zebra.h"
#include "tasks/task_check.h"

using namespace zeroth;

TEST_CASE("knights: a puzzle solved by hand") {
  // A: "B is a knave." B: "A and B are of the same kind." -> A knight, B knave.
  using Kind = KnightsStatement::Kind;
  const std::vector<KnightsStatement> statements = {{Kind::kIsKnave, 0, 1, 0, 0},
                                                    {Kind::kSame, 1, 0, 1, 0}};
  CHECK(solve_knights(statements, 2) == std::vector<unsigned>{1});
  // A: "exactly 0 of us are knights" makes A a knave and B a knight.
  CHECK(solve_knights({{Kind::kExactly, 0, 0, 0, 0}}, 2) == std::vector<unsigned>{2});
  CHECK(solve_knights({{Kind::kIfThen, 0, 0, 1, 0}}, 2) == std::vector<unsigned>{1});
}

TEST_CASE("knights: fit for training, hostile answers") {
  for (const int people : {2, 3, 5}) {
    KnightsOptions options;
    options.people = people;
    const KnightsTask task{options};
    const TaskCheck check = check_task(task, 60);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
  const KnightsTask task{KnightsOptions{}};
  Problem p;
  p.meta = {{"names", {"Ada", "Ben"}}, {"knights", 1}};
  const auto score = [&](const std::string& answer) {
    return task.grade(p, "<think></think><answer>" + answer + "</answer>", FinishReason::kStop)[0]
        .score;
  };
  CHECK(score("Ada is a knight, Ben is a knave") == 1);
  CHECK(score("ben: KNAVE; ada: knight") == 1);
  CHECK(score("Ada=knight Ben=knave") == 1);
  CHECK(score("Ada is a knight") == 0);
  CHECK(score("Ada is a knave, Ben is a knight") == 0);
  CHECK(score("Ada is a knight, Ben is a knave, Ada is a knave") == 0);
  CHECK(score("Ada is a knight or knave, Ben is a knave") == 0);
  CHECK(score("Ada is not a knave, Ben is not a knight") == 0);
  CHECK(score("knight knave") == 0);
  CHECK(score("Ada says: Ben is a knave. Ada is a knight, Ben is a knave") == 0);
  CHECK(task.grade(p, "<think></think><answer>Ada knight, Ben knight</answer>",
                   FinishReason::kStop)[0]
            .info["people_right"] == 0.5);
}

TEST_CASE("zebra: clues and solver") {
  using Kind = ZebraClue::Kind;
  // Two houses, two categories: item 0 of category 0 in house 1, item 1 of category 1 with it.
  const std::vector<ZebraClue> clues = {{Kind::kAt, 0, 0, 0, 0, 1}, {Kind::kSame, 0, 0, 1, 1, 0}};
  const auto found = solve_zebra(clues, 2, 2, 10);
  REQUIRE(found.size() == 1);
  CHECK(found[0] == ZebraGrid{{1, 0}, {0, 1}});
  CHECK(solve_zebra({}, 2, 2, 10).size() == 4);
  CHECK(solve_zebra({}, 3, 2, 5).size() == 5);
  CHECK(solve_zebra({{Kind::kLeftNext, 0, 0, 1, 0, 0}}, 2, 2, 10).size() == 1);
}

TEST_CASE("zebra: one solution, no clue too many, fit for training") {
  for (const auto& [houses, categories] : {std::pair{2, 2}, {3, 3}, {4, 4}}) {
    ZebraOptions options;
    options.houses = houses;
    options.categories = categories;
    const ZebraTask task{options};
    const TaskCheck check = check_task(task, houses == 4 ? 15 : 60);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
  const ZebraTask task{ZebraOptions{}};
  Problem p;
  p.meta = {{"names", {{"red", "blue", "white"}, {"Ada", "Ben", "Fay"}}},
            {"grid", {{0, 1, 2}, {2, 1, 0}}}};
  const auto score = [&](const std::string& answer) {
    return task.grade(p, "<think></think><answer>" + answer + "</answer>", FinishReason::kStop)[0]
        .score;
  };
  CHECK(score("1: red, Fay; 2: blue, Ben; 3: white, Ada") == 1);
  CHECK(score("house 3: Ada and white\nhouse 1: fay, RED\nhouse 2: Ben, blue") == 1);
  CHECK(score("1: red, Fay; 2: blue, Ben; 3: white") == 0);
  CHECK(score("1: red, blue, white, Ada, Ben, Fay; 2: blue, Ben; 3: white, Ada") == 0);
  CHECK(score("1 red 2 blue 3 white") == 0);
  CHECK(score("1: red, Fay; 2: blue, Ben; 3: maybe white, Ada") == 0);
  CHECK(score("red, Fay; blue, Ben; white, Ada") == 0);
}
