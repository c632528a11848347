// Speed of the math grader on one core, with the CPU clock: build/bench_math [SHORT_OUT LONG_OUT].
// With two paths it also writes its pairs there, for scripts/bench-math-verify to time Math-Verify
// on the same input.
#include <ctime>

#include <cstdio>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json_lines.h"
#include "rewards/math/math_case.h"

using namespace zeroth;

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Distinct short pairs of the labelled table, at most 500.
Pairs short_pairs() {
  Pairs pairs;
  std::set<std::pair<std::string, std::string>> seen;
  for_each_json_line("tests/data/math_equivalence.jsonl", [&](const Json& json, int64_t) {
    const MathCase row = read_math_case(json, "tests/data/math_equivalence.jsonl");
    const bool fits = row.options.targets.empty() && row.gold.size() + row.pred.size() < 200;
    if (fits && pairs.size() < 500 && seen.insert({row.gold, row.pred}).second)
      pairs.emplace_back(row.gold, row.pred);
  });
  return pairs;
}

// Responses of about 1,200 characters that end in a box.
Pairs long_responses(const Pairs& shorts) {
  const std::string step =
      "We let $x$ be the number of items and write $2x + 3 = 11$, so that $x = \\frac{8}{2} = 4$ "
      "follows. Then the total is "
      "$\\sum_{k=1}^{4} k^2 = 30$, which we check: $1 + 4 + 9 + 16 = 30$.\n";
  Pairs out;
  for (const auto& [gold, pred] : shorts) {
    std::string text = "<think>\n";
    for (int i = 0; i < 6; ++i) text += step;
    const bool boxed = pred.find("\\boxed") != std::string::npos;
    if (pred.find("think>") != std::string::npos) continue;
    out.emplace_back(gold, text + "</think>\n" + (boxed ? pred : "\\boxed{" + pred + "}"));
  }
  return out;
}

void report(const char* name, const Pairs& pairs) {
  size_t bytes = 0;
  for (const auto& [gold, pred] : pairs) bytes += pred.size();
  for (const auto& [gold, pred] : pairs) (void)grade_math(gold, pred);  // warm caches
  int rounds = 0, correct = 0;
  const double start = cpu_seconds();
  double elapsed = 0;
  while (elapsed < 2) {
    for (const auto& [gold, pred] : pairs) correct += grade_math(gold, pred).score > 0;
    ++rounds;
    elapsed = cpu_seconds() - start;
  }
  const double graded = static_cast<double>(rounds) * static_cast<double>(pairs.size());
  std::printf("%-16s %4zu pairs, %5zu bytes on average: %9.0f pairs/s (%.1f%% correct)\n", name,
              pairs.size(), bytes / pairs.size(), graded / elapsed, 100.0 * correct / graded);
}

void write_pairs(const char* path, const Pairs& pairs) {
  std::string text;
  for (const auto& [gold, pred] : pairs) {
    text +=
        Json{{"gold", gold}, {"pred", pred}}.dump(-1, ' ', true, Json::error_handler_t::replace) +
        "\n";
  }
  write_file_atomic(path, text);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Pairs shorts = short_pairs(), longs = long_responses(shorts);
    if (argc == 3) {
      write_pairs(argv[1], shorts);
      write_pairs(argv[2], longs);
    }
    report("short answers", shorts);
    report("long responses", longs);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_math: %s\n", error.what());
    return 1;
  }
  return 0;
}
