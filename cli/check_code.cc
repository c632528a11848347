#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "cli/commands.h"
#include "cli/grade_code.h"
#include "cli/usage.h"
#include "core/system.h"
#include "core/terminal.h"

namespace zeroth {
namespace {

struct CheckCodeFlags : SandboxOptions {
  template <class V>
  void fields(V& v) {
    SandboxOptions::fields(v);
  }
};

// Descendants of this process that are none of the pool's workers: something outlived its job. We
// are their subreaper, so none can hide by losing its parents, and what other programs run at the
// same time does not count.
std::vector<int> leftovers(const SandboxPool& pool) {
  const std::vector<int> workers = pool.worker_pids();
  std::map<int, int> parent;
  for (const auto& [pid, up] : system::parents()) parent[pid] = up;
  std::vector<int> left;
  for (const auto& [pid, ignored] : parent) {
    if (std::find(workers.begin(), workers.end(), pid) != workers.end()) continue;
    int at = pid;
    for (int hops = 0; hops < 1000 && at > 1 && at != ::getpid(); ++hops) {
      const auto up = parent.find(at);
      at = up == parent.end() ? 0 : up->second;
    }
    if (at == ::getpid() && pid != at) left.push_back(pid);
  }
  return left;
}

}  // namespace

int run_check_code(const Args& args) {
  CheckCodeFlags flags;
  if (asks_for_help(args)) return print_usage("zeroth check code FILE.jsonl", flags);
  const Args rest = parse_flags(flags, args, "check code");
  if (rest.size() != 1)
    fail_usage("zeroth check code takes one file", "see zeroth check code --help");
  std::printf("layers of the sandbox here:\n%s", probe_sandbox().text().c_str());
  system::adopt_orphans();
  const std::unique_ptr<SandboxPool> pool = make_sandbox_pool(flags);
  const std::vector<CodeRow> rows = read_code_rows(rest[0], *pool);
  int wrong = 0, uncontained = 0;
  for (const CodeRow& row : rows) {
    const Json json = parse_json(row.text, rest[0]);
    const CodeVerdict verdict = grade_rows({row}, flags.code_options(), *pool)[0];
    const double limit = flags.time_limit + (row.tests.language == "cpp" ? kCompileSeconds : 0);
    bool contained = verdict.reason != Reason::kCheckerError &&
                     verdict.seconds - verdict.waited_seconds < limit + 2;
    std::string how;
    if (verdict.reason == Reason::kCheckerError) how += " no verdict: " + verdict.detail;
    for (const Json& path : json.value("host_absent", Json::array())) {
      if (std::filesystem::exists(path.get<std::string>())) {
        contained = false;
        how += " left " + path.get<std::string>();
      }
    }
    if (const auto left = leftovers(*pool); !left.empty()) {
      contained = false;
      how += " left process " + std::to_string(left[0]);
    }
    const bool passed = verdict.score == 1;
    if (passed && json.value("success_means_escape", false)) {
      contained = false;
      how += " escaped";
    }
    const bool right = passed == (json.value("expected", "fail") == std::string("pass"));
    wrong += !right;
    uncontained += !contained;
    std::printf("%-10s %-5s %-13s %-13s %6.2f s  %s%s\n", printable_line(row.id, 0).c_str(),
                passed ? "pass" : "fail", right ? "as expected" : "UNEXPECTED",
                contained ? "contained" : "NOT CONTAINED", verdict.seconds,
                printable_line(json.value("title", ""), 0).c_str(), printable_line(how, 0).c_str());
  }
  std::printf("%zu programs, %d unexpected verdicts, %d not contained\n", rows.size(), wrong,
              uncontained);
  return wrong + uncontained == 0 ? 0 : 1;
}

}  // namespace zeroth
