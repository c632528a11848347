// Knights and knaves (Smullyan): knights always tell the truth, knaves always lie; who is what?
#pragma once

#include <string>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

// What one person says. Persons are numbers from 0.
struct KnightsStatement {
  enum class Kind {
    kIsKnight,   // a is a knight
    kIsKnave,    // a is a knave
    kSame,       // a and b are of the same kind
    kDifferent,  // a and b are of different kinds
    kBothKnights,
    kEitherKnave,  // at least one of a and b is a knave
    kExactly,      // exactly `count` of all are knights
    kIfThen        // if a is a knight, then b is a knave
  };
  Kind kind = Kind::kIsKnight;
  int speaker = 0, a = 0, b = 0, count = 0;
};

// Bit i of `knights` says that person i is a knight.
bool holds(const KnightsStatement& statement, unsigned knights, int people);

// All assignments in which exactly the knights' statements hold.
std::vector<unsigned> solve_knights(const std::vector<KnightsStatement>& statements, int people);

struct KnightsOptions : ResponseOptions {
  int people = 3;
  int statements = 0;
  int held_out_every = 8;
  uint64_t seed = 0;
  template <class V>
  void fields(V& v) {
    v("people", people, "persons of a puzzle", Range{2, 10});
    v("statements", statements, "statements of a puzzle; 0 = one for each person", Range{0, 40});
    v("held_out_every", held_out_every, "one puzzle in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "which puzzles are made");
    ResponseOptions::fields(v);
  }
};

// Every puzzle has exactly one solution. The split goes by the statements with names left out, so
// that no held-out puzzle is a training puzzle with other names. The answer block must say for each
// person, in any order, "NAME is a knight" or "NAME is a knave" (or NAME: knight, NAME=knave). Fact
// people_right: share of persons that are right.
class KnightsTask : public Task {
 public:
  explicit KnightsTask(KnightsOptions options);
  std::string name() const override { return "knights"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }

 private:
  KnightsOptions options_;
};

}  // namespace zeroth
