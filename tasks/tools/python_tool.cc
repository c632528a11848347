#include <algorithm>
#include <cstdio>

#include "tasks/tools/tool.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

// The last line that is not blank.
std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t at = text.rfind('\n');
  return std::string(at == std::string_view::npos ? text : text.substr(at + 1));
}

class PythonTool : public Tool {
 public:
  PythonTool(SandboxPool& pool, const PythonToolOptions& options)
      : pool_(pool), options_(options), python_(probe_sandbox().python) {}
  std::string name() const override { return "python"; }

  std::vector<ToolAnswer> answer(std::span<const std::string_view> calls) const override {
    std::vector<SandboxJob> jobs;
    for (const std::string_view call : calls) {
      SandboxJob job;
      // Not -I: PYTHONHASHSEED makes the order of a set, and so the output, the same each time.
      job.argv = {python_, "-s", "-S", "-B", "/tmp/program.py"};
      job.files = {{"program.py", std::string(call)}};
      job.limits.wall_seconds = options_.time_limit;
      job.limits.memory_bytes = int64_t{options_.memory_mb} << 20;
      jobs.push_back(std::move(job));
    }
    std::vector<ToolAnswer> out;
    for (const SandboxResult& result : pool_.run(jobs)) out.push_back(read(result));
    return out;
  }

 private:
  ToolAnswer read(const SandboxResult& result) const {
    using Status = SandboxResult::Status;
    ToolAnswer answer;
    std::string text = result.out;
    const bool well = result.status == Status::kExited && result.exit_code == 0;
    if (result.status == Status::kInfrastructure || result.starved ||
        (!well && !result.disturbed.empty())) {
      answer.fault = "sandbox";
      answer.detail = !result.error.empty() ? result.error
                      : result.starved      ? "it was stopped while a program ran"
                                            : result.disturbed;
      return answer;
    }
    char line[80] = "";
    if (result.status == Status::kTimeout) {
      std::snprintf(line, sizeof line, "error: no end within %g s", options_.time_limit);
    } else if (result.status == Status::kOutputLimit) {
      std::snprintf(line, sizeof line, "error: too much output");
    } else if (result.out_of_memory || result.signal != 0) {
      std::snprintf(line, sizeof line, "error: killed, its memory is %d MiB", options_.memory_mb);
    }
    std::string error = line;
    if (error.empty() && !well) error = "error: " + last_line(result.err);
    if (!error.empty()) {
      if (!text.empty() && text.back() != '\n') text += '\n';
      text += error;
    }
    answer.failed = !well;
    const auto most = static_cast<size_t>(options_.max_output);
    // The end of a long output may be its error.
    if (text.size() > most) text = text.substr(0, most - std::min(most, error.size())) + error;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    answer.text = replace_invalid_utf8(text);
    return answer;
  }

  SandboxPool& pool_;
  const PythonToolOptions options_;
  const std::string python_;
};

}  // namespace

std::unique_ptr<Tool> make_python_tool(SandboxPool& pool, const PythonToolOptions& options) {
  return std::make_unique<PythonTool>(pool, options);
}

}  // namespace zeroth
