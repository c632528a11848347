// The inspector's web server: serves runs and the page on a loopback address.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "inspect/run_set.h"

namespace zeroth {

struct ServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;    // 0: any free one
  double poll_s = 1.0;  // how often the run's files are looked at, seconds
  int export_traces = 200;
  std::vector<size_t> overlay;  // numbers of the runs that are drawn over the first one at once
};

// Answers GET and HEAD only. Requests whose Host or Origin header names another site are refused
// (DNS rebinding, foreign pages); when bound to anything but a loopback address, a random token in
// the page's address is demanded as well.
class InspectServer {
 public:
  // Binds at once; throws Error when the address or port cannot be had. The runs must outlive it.
  InspectServer(RunSet& runs, const ServerOptions& options);
  ~InspectServer();
  // Where the page is, token included.
  std::string url() const;
  uint16_t port() const;
  // Serves until `stop` is true; blocks. Looks at it about ten times a second.
  void run(const std::atomic<bool>& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
