#include "tasks/builtin/knights.h"

#include <algorithm>
#include <bit>

#include "core/ascii.h"
#include "core/rng.h"

namespace zeroth {
namespace {

using Kind = KnightsStatement::Kind;

constexpr int64_t kSize = int64_t{1} << 31;
constexpr const char* kNames[] = {"Ada",  "Ben",  "Cleo", "Dora", "Emil", "Fay",  "Gus",  "Hana",
                                  "Ivan", "Jane", "Karl", "Lena", "Milo", "Nora", "Otto", "Pia"};
constexpr int kKinds = 8;

bool needs_pair(Kind kind) {
  return kind == Kind::kSame || kind == Kind::kDifferent || kind == Kind::kBothKnights ||
         kind == Kind::kEitherKnave || kind == Kind::kIfThen;
}

KnightsStatement draw_statement(int speaker, int people, Rng& rng) {
  KnightsStatement s;
  s.speaker = speaker;
  const auto n = static_cast<uint32_t>(people);
  do {
    s.kind = static_cast<Kind>(rng.below(kKinds));
    // Two persons can only talk about a pair that includes the speaker; that is fine for pairs.
    s.a = static_cast<int>(rng.below(n));
    s.b = static_cast<int>(rng.below(n));
    s.count = static_cast<int>(rng.below(n + 1));
  } while ((needs_pair(s.kind) && s.a == s.b) ||
           // "I am a knight" says nothing, "I am a knave" cannot be said.
           ((s.kind == Kind::kIsKnight || s.kind == Kind::kIsKnave) && s.a == speaker));
  const bool symmetric = needs_pair(s.kind) && s.kind != Kind::kIfThen;
  if (symmetric && s.a > s.b) std::swap(s.a, s.b);
  // Fields that the kind does not use are 0, so that equal statements have equal signatures.
  if (s.kind == Kind::kExactly) {
    s.a = 0;
  } else {
    s.count = 0;
  }
  if (!needs_pair(s.kind)) s.b = 0;
  return s;
}

std::string said(const KnightsStatement& s, const std::vector<std::string>& names) {
  const std::string& a = names[static_cast<size_t>(s.a)];
  const std::string& b = names[static_cast<size_t>(s.b)];
  switch (s.kind) {
    case Kind::kIsKnight:
      return a + " is a knight.";
    case Kind::kIsKnave:
      return a + " is a knave.";
    case Kind::kSame:
      return a + " and " + b + " are of the same kind.";
    case Kind::kDifferent:
      return a + " and " + b + " are of different kinds.";
    case Kind::kBothKnights:
      return a + " and " + b + " are both knights.";
    case Kind::kEitherKnave:
      return "At least one of " + a + " and " + b + " is a knave.";
    case Kind::kExactly:
      return "Exactly " + std::to_string(s.count) + " of us are knights.";
    case Kind::kIfThen:
      return "If " + a + " is a knight, then " + b + " is a knave.";
  }
  return {};
}

std::string signature(const std::vector<KnightsStatement>& statements) {
  std::string key;
  for (const KnightsStatement& s : statements) {
    key += std::to_string(static_cast<int>(s.kind)) + "," + std::to_string(s.speaker) + "," +
           std::to_string(s.a) + "," + std::to_string(s.b) + "," + std::to_string(s.count) + ";";
  }
  return key;
}

using ascii::is_letter;
using ascii::lower;

// By person: 1 knight, 0 knave, -1 not said or said twice. Any word that a list of roles does not
// need makes the answer none: "not a knight", "knight or knave", and the puzzle itself are no lists
// of roles.
std::vector<int> read_roles(std::string_view answer, const std::vector<std::string>& names) {
  const std::vector<int> none(names.size(), -1);
  std::vector<int> roles = none;
  std::vector<bool> seen(names.size(), false);
  int person = -1;
  for (size_t at = 0; at < answer.size();) {
    if (!is_letter(answer[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < answer.size() && is_letter(answer[end])) ++end;
    const std::string word = lower(answer.substr(at, end - at));
    at = end;
    if (word == "is" || word == "a" || word == "and") continue;
    const auto name = std::find_if(names.begin(), names.end(),
                                   [&](const std::string& n) { return lower(n) == word; });
    if (name != names.end()) {
      person = static_cast<int>(name - names.begin());
      continue;
    }
    if ((word != "knight" && word != "knave") || person < 0) return none;
    const auto i = static_cast<size_t>(person);
    roles[i] = seen[i] ? -1 : word == "knight" ? 1 : 0;
    seen[i] = true;
    person = -1;
  }
  return roles;
}

}  // namespace

bool holds(const KnightsStatement& s, unsigned knights, int people) {
  const bool a = (knights >> s.a) & 1, b = (knights >> s.b) & 1;
  switch (s.kind) {
    case Kind::kIsKnight:
      return a;
    case Kind::kIsKnave:
      return !a;
    case Kind::kSame:
      return a == b;
    case Kind::kDifferent:
      return a != b;
    case Kind::kBothKnights:
      return a && b;
    case Kind::kEitherKnave:
      return !a || !b;
    case Kind::kExactly:
      return std::popcount(knights & ((1u << people) - 1)) == s.count;
    case Kind::kIfThen:
      return !a || !b;
  }
  return false;
}

std::vector<unsigned> solve_knights(const std::vector<KnightsStatement>& statements, int people) {
  std::vector<unsigned> solutions;
  for (unsigned knights = 0; knights < 1u << people; ++knights) {
    const bool consistent =
        std::all_of(statements.begin(), statements.end(), [&](const KnightsStatement& s) {
          return holds(s, knights, people) == (((knights >> s.speaker) & 1) == 1);
        });
    if (consistent) solutions.push_back(knights);
  }
  return solutions;
}

KnightsTask::KnightsTask(KnightsOptions options) : options_(std::move(options)) {
  options_.render("");
  if (options_.statements == 0) options_.statements = options_.people;
  if (options_.statements < options_.people) {
    fail_usage("task knights: " + std::to_string(options_.statements) + " statements for " +
                   std::to_string(options_.people) + " people",
               "give at least one statement for each person");
  }
}

int64_t KnightsTask::size(Split) const { return kSize; }

Problem KnightsTask::problem(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  if (index < 0 || index >= kSize)
    fail("task knights: problem " + std::to_string(index) + " does not exist");
  Rng rng(StreamKey{options_.seed, held_out ? 2u : 1u, static_cast<uint32_t>(index), 0});
  std::vector<KnightsStatement> statements;
  std::vector<unsigned> solutions;
  do {
    statements.clear();
    for (int i = 0; i < options_.statements; ++i) {
      statements.push_back(draw_statement(i % options_.people, options_.people, rng));
    }
    solutions = solve_knights(statements, options_.people);
  } while (solutions.size() != 1 ||
           is_held_out(signature(statements), options_.held_out_every) != held_out);

  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  for (size_t i = names.size(); i > 1; --i)
    std::swap(names[i - 1], names[rng.below(static_cast<uint32_t>(i))]);
  names.resize(static_cast<size_t>(options_.people));
  std::string question =
      "Knights always tell the truth, knaves always lie, and everyone here is one of the two.";
  for (const KnightsStatement& s : statements) {
    question += " " + names[static_cast<size_t>(s.speaker)] + " says: \"" + said(s, names) + "\"";
  }
  question += " Who is a knight and who is a knave?";
  Problem problem;
  problem.task = name();
  problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = options_.render(question);
  for (size_t i = 0; i < names.size(); ++i) {
    problem.answer +=
        (i == 0 ? "" : ", ") + names[i] + " is a " + ((solutions[0] >> i) & 1 ? "knight" : "knave");
  }
  problem.meta = {{"names", names}, {"knights", solutions[0]}};
  return problem;
}

std::vector<Verdict> KnightsTask::grade(const Problem& problem, std::string_view completion,
                                        FinishReason finish) const {
  const ResponseParts parts = split_response(completion, options_.format_rules());
  const auto names = problem.meta.at("names").get<std::vector<std::string>>();
  const auto knights = problem.meta.at("knights").get<unsigned>();
  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.info = Json::object();
  double right = 0;
  if (parts.reason != Reason::kNone) {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
  } else {
    const std::vector<int> roles = read_roles(parts.answer.substr(0, 65536), names);
    for (size_t i = 0; i < names.size(); ++i) {
      right += roles[i] == static_cast<int>((knights >> i) & 1);
      accuracy.extracted += roles[i] < 0 ? '?' : roles[i] == 1 ? 'K' : 'n';
    }
    const bool all_said = std::find(roles.begin(), roles.end(), -1) == roles.end();
    accuracy.score = right == static_cast<double>(names.size()) ? 1 : 0;
    accuracy.reason = !all_said             ? Reason::kNoAnswer
                      : accuracy.score == 1 ? Reason::kCorrect
                                            : Reason::kWrong;
  }
  accuracy.info["people_right"] = right / static_cast<double>(names.size());
  return options_.verdicts(std::move(accuracy), completion, finish);
}

std::string KnightsTask::gold_completion(const Problem& problem) const {
  return options_.wrap_answer(problem.answer);
}

}  // namespace zeroth
