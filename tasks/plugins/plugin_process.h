// The process carrier: a command that answers JSON lines on its standard output, one or more for
// each JSON line on its standard input.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tasks/plugins/plugin_pool.h"

namespace zeroth {

// Its standard error is ours. It runs in a process group of its own, which close() kills as a
// whole, with whatever it started elsewhere (plugin_children.h), and is killed when the thread that
// opened it ends, however it ends. Replies of more than
// 64 MiB, lines that are no JSON object, and ids that were never sent are garbage; replies to
// earlier requests are skipped.
class ProcessChannel : public PluginChannel {
 public:
  // argv[0] is looked up in PATH.
  explicit ProcessChannel(std::vector<std::string> argv) : argv_(std::move(argv)) {}
  ~ProcessChannel() override { close(); }
  void open() override;
  void close() override;
  void call(const Json& request, double seconds, double grace, const TakeReply& take) override;

 private:
  // Writes what is left of `line` and reads until a whole line is in buffer_. False at the
  // deadline.
  bool exchange(std::string& line, double deadline);
  bool take_line(std::string* line);
  [[noreturn]] void fail_ended();

  std::vector<std::string> argv_;
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;  // our ends of its standard input and output
  std::string mark_;        // names the worker and what it starts
  std::string buffer_;
  size_t searched_ = 0;  // bytes of buffer_ without a line feed
};

}  // namespace zeroth
