// zeroth inspect: the page that shows a run.
#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "inspect/page.h"
#include "inspect/run_set.h"
#include "inspect/server.h"

namespace zeroth {
namespace {

std::atomic<bool> stop_requested{false};

void request_stop(int) {
  // A second Ctrl-C ends the process even if a connection hangs.
  if (stop_requested.exchange(true)) std::_Exit(130);
}

struct InspectOptions {
  int port = 8765;
  std::string address = "127.0.0.1";
  std::vector<std::string> compare;
  std::string export_file;
  int traces = 200;
  std::vector<std::string> words;
  template <class V>
  void fields(V& v) {
    v("port", port, "port of the page; 0 = any free one", Range{0, 65535});
    v("address", address, "address to listen on; anything but a loopback address demands a token");
    v("compare", compare, "folder of another run, drawn over the first one; may be repeated",
      Repeated{});
    v("export", export_file, "write one self-contained HTML file instead of serving");
    v("traces", traces, "samples in an exported file", Range{1, 100000});
    v("words", words, "word list files (JSON) to scan with besides the built-in ones");
  }
};

using Folders = std::vector<std::filesystem::path>;

int export_run(const InspectOptions& options, const std::string& run, const Folders& lists) {
  RunSet runs({run}, lists);
  if (runs.size() > 1) {
    std::string names;
    for (const Json& one : runs.list())
      names += (names.empty() ? "" : ", ") + one["path"].get<std::string>();
    fail_usage("--export writes one run, and " + run + " holds " + std::to_string(runs.size()) +
                   ": " + names,
               "give one of them");
  }
  const std::shared_ptr<RunView> view = runs.view(0);
  view->update();
  const std::string html = exported_page(*view, options.traces);
  write_file_atomic(options.export_file, html);
  std::printf("%s\n", options.export_file.c_str());
  std::fprintf(stderr, "%.2f MB, opens without a network\n",
               static_cast<double>(html.size()) / 1e6);
  return 0;
}

}  // namespace

int run_inspect(const Args& args) {
  InspectOptions options;
  if (asks_for_help(args)) return print_usage("zeroth inspect RUN.. [options]", options);
  const auto rest = parse_flags(options, args, "inspect");
  if (rest.empty()) {
    fail_usage("inspect needs the folder of a run, or one that holds runs",
               "write: zeroth inspect RUN, or zeroth inspect runs");
  }
  const Folders lists(options.words.begin(), options.words.end());
  if (!options.export_file.empty()) {
    if (rest.size() != 1) fail_usage("--export writes one run, not several", "give one run");
    return export_run(options, rest[0], lists);
  }
  RunSet runs(Folders(rest.begin(), rest.end()), lists);
  ServerOptions server;
  server.address = options.address;
  server.port = static_cast<uint16_t>(options.port);
  server.export_traces = options.traces;
  for (const std::string& other : options.compare) server.overlay.push_back(runs.add(other));
  InspectServer inspector(runs, server);
  struct sigaction action = {};
  action.sa_handler = request_stop;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::printf("%s\n", inspector.url().c_str());
  std::fflush(stdout);
  std::fprintf(stderr, "open it in a browser; Ctrl-C ends the page, never the run\n");
  inspector.run(stop_requested);
  return 0;
}

}  // namespace zeroth
