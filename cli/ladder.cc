// `zeroth ladder`: checkpoints against fixed opponents, from what `zeroth eval --save` wrote.
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/json_lines.h"
#include "core/terminal.h"
#include "core/trajectory.h"
#include "tasks/ladder.h"

namespace zeroth {
namespace {

constexpr const char* kFix = "give files that `zeroth eval --save` wrote";

struct LadderOptions {
  int resamples = 400;
  uint64_t seed = 0;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("resamples", resamples, "draws of the problems for the 95% intervals; 0: no intervals",
      Range{0, 100000});
    v("seed", seed, "of these draws");
    v("json", json, "print one JSON object");
  }
};

// The score of a row of `zeroth eval --save`: of the verdict "accuracy", else of the first; negative
// when it could not be graded.
double score_of(const Json& row, const std::string& place) {
  const Json* verdict = nullptr;
  if (row.contains("verdicts") && row["verdicts"].is_array()) {
    for (const Json& v : row["verdicts"]) {
      if (!v.is_object() || !v.contains("score") || !v["score"].is_number()) continue;
      if (verdict == nullptr || v.value("name", Json()) == "accuracy") verdict = &v;
    }
  }
  if (verdict == nullptr || !row.contains("problem") || !row["problem"].is_string())
    fail(place + " is no row of `zeroth eval --save`: it lacks \"problem\" or \"verdicts\"", kFix);
  const Json reason = verdict->value("reason", Json());
  if (!reason.is_string()) fail(place + ": a verdict without a reason", kFix);
  const bool graded =
      reason != "checker_error" && reason != "bad_gold" && reason != "not_applicable";
  return graded ? (*verdict)["score"].get<double>() : -1;
}

LadderEntry read_entry(const std::string& argument) {
  const size_t equals = argument.find('=');
  const std::string file = equals == std::string::npos ? argument : argument.substr(equals + 1);
  if (equals == 0 || file.empty())
    fail_usage("\"" + argument + "\" lacks its name or its file", "write NAME=FILE");
  LadderEntry entry;
  entry.name = equals == std::string::npos ? std::filesystem::path(file).stem().string()
                                           : argument.substr(0, equals);
  for_each_json_line(file, [&](const Json& row, int64_t line) {
    const double score = score_of(row, file + ":" + std::to_string(line));
    if (score >= 0) entry.scores[row["problem"].get<std::string>()].push_back(score);
  });
  if (entry.scores.empty())
    fail(file + " has no graded sample", "evaluate again: zeroth eval --save " + file);
  return entry;
}

Json to_json(const Ladder& ladder) {
  Json rows = Json::array();
  for (const LadderRow& row : ladder.rows) {
    Json against = Json::object();
    for (size_t j = 0; j < row.against.size(); ++j) {
      const LadderPair& pair = row.against[j];
      if (ladder.rows[j].name == row.name) continue;
      against[ladder.rows[j].name] = {
          {"wins", pair.wins}, {"ties", pair.ties}, {"losses", pair.losses}};
    }
    rows.push_back({{"name", row.name},
                    {"accuracy", row.accuracy},
                    {"elo", row.elo},
                    {"elo95", {row.elo95.lo, row.elo95.hi}},
                    {"against", std::move(against)}});
  }
  return {{"problems", ladder.problems}, {"checkpoints", std::move(rows)}};
}

void print_text(const Ladder& ladder) {
  std::printf("%lld problems; Elo beside %s; won / tied / lost of games in %% against\n",
              static_cast<long long>(ladder.problems),
              printable_line(ladder.rows[0].name, 200).c_str());
  std::printf("%-16s  accuracy   Elo (95%%)           ", "");
  for (size_t j = 0; j + 1 < ladder.rows.size(); ++j)
    std::printf("  %-14s", printable_line(ladder.rows[j].name, 14).c_str());
  std::printf("\n");
  for (size_t i = 0; i < ladder.rows.size(); ++i) {
    const LadderRow& row = ladder.rows[i];
    std::printf("%-16s  %6.1f%%  %5.0f (%.0f to %.0f)", printable_line(row.name, 16).c_str(),
                100 * row.accuracy, row.elo, row.elo95.lo, row.elo95.hi);
    for (size_t j = 0; j < i; ++j) {
      const LadderPair& pair = row.against[j];
      std::printf("   %3.0f / %3.0f / %3.0f", 100 * pair.wins, 100 * pair.ties, 100 * pair.losses);
    }
    std::printf("\n");
  }
}

}  // namespace

int run_ladder(const Args& args) {
  LadderOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth ladder BASE=FILE.jsonl NAME=FILE.jsonl.. (of zeroth eval --save)",
                       options);
  const Args files = parse_flags(options, args, "ladder");
  std::vector<LadderEntry> entries;
  entries.reserve(files.size());
  for (const std::string& file : files) entries.push_back(read_entry(file));
  const Ladder ladder = make_ladder(entries, options.resamples, options.seed);
  if (options.json) {
    print_json(to_json(ladder));
  } else {
    print_text(ladder);
  }
  return 0;
}

}  // namespace zeroth
