// zeroth check math: the grader against labelled pairs.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/json_lines.h"
#include "core/terminal.h"
#include "rewards/math/math_case.h"

namespace zeroth {

namespace {

struct CheckMathFlags {
  bool quiet = false, json = false;
  int repeat = 1;
  template <class V>
  void fields(V& v) {
    v("quiet", quiet, "leave out the disagreements");
    v("json", json, "print the totals as one JSON object");
    v("repeat", repeat, "grade everything this many times (timing)", Range{1, 100000});
  }
};

struct Totals {
  int64_t rows = 0, labelled = 0, agreed = 0, false_positives = 0, false_negatives = 0, slow = 0;
  void add(const MathCase& row, double score) {
    ++rows;
    if (!row.expected) return;
    ++labelled;
    bool accepted = score > 0.5;
    agreed += accepted == *row.expected;
    false_positives += accepted && !*row.expected;
    false_negatives += !accepted && *row.expected;
  }
  double agreement() const {
    return labelled == 0 ? 1 : static_cast<double>(agreed) / static_cast<double>(labelled);
  }
};

void print_disagreement(const MathCase& row) {
  MathOptions options = row.options;
  options.forms = true;
  const MathVerdict verdict = grade_math(row.gold, row.pred, options);
  auto shown = [](const std::string& text) {
    return json_line(
        text.size() > 300 ? text.substr(0, 150) + " .. " + text.substr(text.size() - 150) : text);
  };
  std::printf("%s %s %s  gold %s  pred %s  as %s | %s  (%s)\n", *row.expected ? "FN" : "FP",
              json_line(row.id).c_str(), printable_line(row.tier, 0).c_str(),
              shown(row.gold).c_str(), shown(row.pred).c_str(), shown(verdict.gold_form).c_str(),
              shown(verdict.pred_form).c_str(), to_string(verdict.reason));
}

void print_totals(const char* name, const Totals& t) {
  std::printf("%-12s %6lld rows  agreement %.2f%%  false positives %lld  false negatives %lld\n",
              name, static_cast<long long>(t.rows), 100 * t.agreement(),
              static_cast<long long>(t.false_positives), static_cast<long long>(t.false_negatives));
}

// Of this thread: a busy machine does not make a case slow.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int run_check_math(const Args& args) {
  CheckMathFlags flags;
  if (asks_for_help(args)) return print_usage("zeroth check math FILE.jsonl..", flags);
  const Args files = parse_flags(flags, args, "check math");
  if (files.empty())
    fail_usage("zeroth check math takes a file", "give lines with gold, pred and expected");
  std::vector<MathCase> rows;
  for (const std::string& file : files) {
    for_each_json_line(file, [&](const Json& json, int64_t number) {
      rows.push_back(read_math_case(json, file + ":" + std::to_string(number)));
    });
  }
  Totals all;
  std::map<std::string, Totals> tiers;
  double slowest = 0;
  for (const MathCase& row : rows) {
    const double start = cpu_seconds();
    const MathVerdict verdict = grade_math(row.gold, row.pred, row.options);
    const double ms = 1000 * (cpu_seconds() - start);
    slowest = std::max(slowest, ms);
    if (ms > 100) {
      ++all.slow;
      std::printf("SLOW %s %.1f ms\n", json_line(row.id).c_str(), ms);
    }
    all.add(row, verdict.score);
    if (!row.tier.empty()) tiers[row.tier].add(row, verdict.score);
    const bool differs = row.expected && (verdict.score > 0.5) != *row.expected;
    if (differs && !flags.quiet && !flags.json) print_disagreement(row);
  }
  const double start = cpu_seconds();
  for (int i = 0; i < flags.repeat; ++i) {
    for (const MathCase& row : rows) (void)grade_math(row.gold, row.pred, row.options);
  }
  const double mean_us = rows.empty() ? 0
                                      : 1e6 * (cpu_seconds() - start) /
                                            static_cast<double>(rows.size()) / flags.repeat;
  if (flags.json) {
    Json line = {{"rows", all.rows},
                 {"agreement", all.agreement()},
                 {"false_positives", all.false_positives},
                 {"false_negatives", all.false_negatives},
                 {"us_per_case", mean_us},
                 {"slowest_ms", slowest}};
    std::printf("%s\n", line.dump().c_str());
  } else {
    for (const auto& [tier, totals] : tiers) print_totals(printable_line(tier, 0).c_str(), totals);
    print_totals("all", all);
    std::printf("%.1f microseconds of CPU time per case, slowest %.1f ms\n", mean_us, slowest);
  }
  return all.slow > 0 ? 1 : 0;
}

}  // namespace zeroth
