#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <set>

#include "cli/commands.h"
#include "cli/grade_code.h"

namespace zeroth {
namespace {

struct CheckCodeFlags : CodeGradingOptions {
  bool help = false;
  template <class V>
  void fields(V& v) {
    v("help", help, "show this help");
    CodeGradingOptions::fields(v);
  }
};

std::set<int> processes() {
  std::set<int> pids;
  if (DIR* folder = ::opendir("/proc")) {
    while (const dirent* entry = ::readdir(folder)) {
      if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])))
        pids.insert(std::atoi(entry->d_name));
    }
    ::closedir(folder);
  }
  return pids;
}

// Processes of the sandbox's user that were not there before: something outlived its job.
std::vector<int> leftovers(const std::set<int>& before) {
  std::vector<int> left;
  const uid_t outer = ::geteuid() == 0 ? 65534 : ::geteuid();
  for (int pid : processes()) {
    std::error_code error;
    if (before.count(pid) || pid == ::getpid()) continue;
    const auto path = "/proc/" + std::to_string(pid);
    struct stat info;
    char name[64] = {};
    if (FILE* file = std::fopen((path + "/comm").c_str(), "r")) {
      if (std::fgets(name, sizeof(name), file) == nullptr) name[0] = '\0';
      std::fclose(file);
    }
    if (::stat(path.c_str(), &info) == 0 && info.st_uid == outer &&
        (::geteuid() == 0 || std::string(name).rfind("python", 0) == 0)) {
      left.push_back(pid);
    }
  }
  return left;
}

}  // namespace

int run_check_code(const Args& args) {
  CheckCodeFlags flags;
  const Args rest = parse_flags(flags, args, "check code");
  if (flags.help || rest.size() != 1) {
    CheckCodeFlags defaults;
    std::printf("usage: zeroth check code FILE.jsonl\n\n%s", config_help(defaults).c_str());
    return flags.help ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  std::printf("layers of the sandbox here:\n%s", probe_sandbox().text().c_str());
  SandboxPool pool(flags.workers);
  const std::vector<CodeRow> rows = read_code_rows(rest[0], pool);
  int wrong = 0, uncontained = 0;
  for (const CodeRow& row : rows) {
    const Json json = parse_json(row.text, rest[0]);
    const std::set<int> before = processes();
    const CodeVerdict verdict = grade_rows({row}, flags.code_options(), pool)[0];
    bool contained =
        verdict.reason != Reason::kCheckerError && verdict.seconds < flags.time_limit + 2;
    std::string how;
    for (const Json& path : json.value("host_absent", Json::array())) {
      if (std::filesystem::exists(path.get<std::string>())) {
        contained = false;
        how += " left " + path.get<std::string>();
      }
    }
    if (const auto left = leftovers(before); !left.empty()) {
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
    std::printf("%-10s %-5s %-13s %-13s %6.2f s  %s%s\n", row.id.c_str(), passed ? "pass" : "fail",
                right ? "as expected" : "UNEXPECTED", contained ? "contained" : "NOT CONTAINED",
                verdict.seconds, json.value("title", "").c_str(), how.c_str());
  }
  std::printf("%zu programs, %d unexpected verdicts, %d not contained\n", rows.size(), wrong,
              uncontained);
  return wrong + uncontained == 0 ? 0 : 1;
}

}  // namespace zeroth
