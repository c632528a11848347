// Plug-ins behind a pool of workers: what every carrier shares. A carrier is a PluginChannel: one
// process or connection that takes a JSON request and gives JSON replies. The pool owns deadlines,
// restarts with back-off, repeats and the counting of faults.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

// Why a plug-in gave no answer.
enum class PluginFaultKind {
  kTimeout,      // nothing within the deadline and the grace after it
  kLate,         // an answer after the deadline, within the grace; it is not used
  kCrashed,      // the worker died, by a signal or with an exit code other than 0
  kClosed,       // it closed its end, or left with exit code 0
  kGarbage,      // an answer that is not of the protocol
  kUnreachable,  // it cannot be started or connected to
  kHttpStatus,   // HTTP: a status other than 200
  kReported,     // the plug-in itself said error
};
const char* to_string(PluginFaultKind kind);  // "timeout", "late", "crashed", ...

class PluginFault : public std::runtime_error {
 public:
  PluginFault(PluginFaultKind kind, const std::string& detail, bool outage = false)
      : std::runtime_error(detail), kind(kind), outage(outage) {}
  PluginFaultKind kind;
  bool outage;  // the server is away for now: worth waiting for, and no fault of the request
};

// Takes one reply; true when the request is answered. Throws PluginFault(kGarbage).
using TakeReply = std::function<bool(const Json& reply)>;

// One worker. Used by one thread; every call blocks, at most as long as it says.
class PluginChannel {
 public:
  virtual ~PluginChannel() = default;
  // Starts or connects; does nothing when that is done already. Throws PluginFault(kUnreachable).
  virtual void open() = 0;
  // Kills or disconnects, whatever state it is in.
  virtual void close() = 0;
  // Sends the request, which holds "id" and "op", and hands over replies until `take` is content.
  // Throws PluginFault after at most seconds + grace. After kLate the channel can go on.
  virtual void call(const Json& request, double seconds, double grace, const TakeReply& take) = 0;
};

struct PluginPoolOptions {
  int workers = 0;
  int batch = 16;
  double timeout = 10;
  double grace = 0.5;
  double start_timeout = 60;
  int retries = 2;
  double backoff = 0.1;
  double max_backoff = 5;
  int give_up = 8;
  double checker_patience = 300;
  template <class V>
  void fields(V& v) {
    v("workers", workers, "processes or connections at a time; 0 = one per core", Range{0, 1024});
    v("batch", batch, "completions of one request, at most", Range{1, 100000});
    v("timeout", timeout, "deadline of one request in seconds", Range{0.01, 86400});
    v("grace", grace,
      "seconds after the deadline in which an overdue worker may finish and live on; its answer is "
      "not used",
      Range{0, 3600});
    v("start_timeout", start_timeout, "deadline of the first answer of a new worker in seconds",
      Range{0.01, 86400});
    v("retries", retries,
      "how often a request that met a crash, a closed pipe or garbage is sent again",
      Range{0, 100});
    v("backoff", backoff, "seconds before a worker is started again; doubles with every failure",
      Range{0, 3600});
    v("max_backoff", max_backoff, "the longest of these waits", Range{0, 3600});
    v("give_up", give_up,
      "failed requests in a row after which the rest of a batch is given up with the last reason",
      Range{1, 1000000});
    v("checker_patience", checker_patience,
      "seconds that an outage of a server (not reachable, status 429, 502, 503 or 504) is "
      "waited for, with growing pauses, before its completions count as faults",
      Range{0, 604800});
  }
};

// What became of one completion: a result, or a fault.
struct PluginOutcome {
  Json result;         // as the plug-in gave it; null with a fault
  std::string fault;   // to_string(PluginFaultKind), empty when there is a result
  std::string detail;  // of the fault, in words
};

// Workers with a thread each, which lives as long as the pool. Thread safe; calls block and share
// the workers.
//
// Faults. A request of several completions that fails is taken apart: what was answered counts, the
// rest is sent again, each completion (or group) alone, so that one bad completion costs only
// itself. A completion alone is sent again up to `retries` times after a crash, a closed pipe or
// garbage, and not after a timeout. Every completion gets exactly one outcome; an answer that comes
// for a request that was given up is dropped.
//
// Outages. A request that meets one is sent again, as it was, after the worker's pause, until
// something is answered or checker_patience seconds have passed since the first; then it is a fault
// like any other. A line on standard error says that the pool waits. The first greeting does not
// wait.
class PluginPool {
 public:
  // `make(i)` makes the channel of worker i; `hello` is sent to every worker when it starts, and
  // must be answered without an "error".
  PluginPool(std::function<std::unique_ptr<PluginChannel>(int)> make, Json hello,
             PluginPoolOptions options);
  ~PluginPool();
  PluginPool(const PluginPool&) = delete;
  PluginPool& operator=(const PluginPool&) = delete;

  // The answer of some worker to `hello`. Throws Error when none can be started.
  Json greet();
  // A request that is no grading (without "id"), repeated after any fault up to `retries` times.
  // Throws Error with the last fault.
  Json ask(Json request);
  // Sends `items` (of the "batch" of a request `op`, "grade" or "step"); outcomes in order. `starts` are the indices,
  // from 0, at which something begins that is sent and graded together: a completion, or the
  // completions of a group. Requests hold as many of these as `batch` completions allow, at least
  // one. Never throws on faults.
  std::vector<PluginOutcome> grade(const std::vector<Json>& items,
                                   const std::vector<size_t>& starts, const char* op = "grade");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
