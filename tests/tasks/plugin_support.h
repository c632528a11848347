// What the tests of plug-ins share: a process that misbehaves on request, a server, their folder.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "tasks/plugins/plugin_http.h"
#include "tasks/plugins/plugin_task.h"

namespace zeroth {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "zeroth-plugin-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::vector<std::string> lines(const std::string& name) const {
    std::ifstream file(path / name);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
};

// Deadlines are long enough for a busy machine; only what really hangs waits for them.
inline ProcessOptions misbehaving(const Folder& folder) {
  ProcessOptions options;
  options.command = {"python3", "tests/tasks/plugins/misbehave.py", folder.path.string()};
  options.workers = 2;
  options.timeout = 1;
  options.grace = 2;
  options.backoff = 0.01;
  options.give_up = 1000;
  return options;
}

inline std::vector<Verdict> grades(const Task& task, const std::vector<std::string>& completions,
                                   FinishReason finish = FinishReason::kStop) {
  const Problem problem = task.problem(Split::kTrain, 0);
  std::vector<GradeRequest> requests;
  for (const std::string& completion : completions)
    requests.push_back({&problem, completion, finish});
  std::vector<Verdict> first;
  for (auto& verdicts : task.grade_batch(requests)) first.push_back(verdicts.at(0));
  return first;
}

inline std::string fault(const Verdict& verdict) {
  return verdict.reason == Reason::kCheckerError ? verdict.info.value("fault", "?") : "";
}

// The server ends when its standard input does.
struct Server {
  Folder folder;
  FILE* process = nullptr;
  std::string base;
  Server() {
    const std::string port = (folder.path / "port").string();
    process = ::popen(("python3 tests/tasks/plugins/server.py " + port).c_str(), "w");
    REQUIRE(process != nullptr);
    while (!std::filesystem::exists(port))
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    base = "http://127.0.0.1:" + read_file(port);
  }
  ~Server() { ::pclose(process); }
};

inline HttpOptions http_options(const std::string& url, const std::string& shape) {
  HttpOptions options;
  options.url = url;
  options.shape = shape;
  options.workers = 2;
  options.timeout = 1;
  options.grace = 2;
  options.backoff = 0.01;
  options.give_up = 1000;
  options.retries = 1;
  options.checker_patience = 0;
  if (shape != "zeroth") options.problems = "parity:bits=4";
  return options;
}

}  // namespace zeroth
