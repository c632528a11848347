// Many workers of a fleet that compute nothing, each with one connection, on one thread: what
// bench/fleet_load.cc measures a coordinator with. Cheap, because they share the machine with it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rollout/fleet/messages.h"

namespace zeroth::bench {

// Seconds, in any order.
struct Latencies {
  std::vector<double> seconds;
  double at(double share);  // 0: the least, 1: the most; 0 when there are none
};

// Not thread safe. Every method blocks; what cannot go on is an Error.
class LoadClients {
 public:
  LoadClients(uint16_t port, std::string token);
  ~LoadClients();
  LoadClients(const LoadClients&) = delete;

  // So many more connect and say hello, one after the other. Returns how many got which status;
  // those that were let in stay.
  std::map<int, int> join(int workers);
  // Connections that say nothing, kept until the end.
  void crowd(int connections);
  // All ask for work at the same moment. Seconds from a request to its answer.
  Latencies storm();
  // All wait for work; `ready` says when it came (steady_now()). Seconds from then to an answer.
  Latencies wait_for_work(const std::function<double()>& ready);
  struct Work {
    Latencies lease, result;
    int64_t refused = 0;  // results
  };
  // For `seconds` all take a lease, think (from half of `think` to one and a half; 0: not at all)
  // and deliver. Polls that brought no work do not count.
  Work work(double think, double seconds);
  // All hear that the run is over: how many did.
  int finish();

 private:
  enum class Call { kNone, kLeases, kResult };
  struct Worker {
    int fd = -1;
    std::string session, ask;  // the whole request for leases
    std::string in;            // of an answer
    Call call = Call::kNone;
    double sent = 0;
    std::deque<fleet::Lease> leases;
  };
  // What to do with an answer that is whole.
  using Answered = std::function<void(Worker&, int status, std::string_view body, double now)>;

  int connect() const;
  std::string request(const char* method, const std::string& target, const Json& message) const;
  void send(Worker& worker, Call call, const std::string& bytes);
  void ask(Worker& worker) { send(worker, Call::kLeases, worker.ask); }
  void deliver(Worker& worker);
  void set_weights(Worker& worker, const std::string& weights);
  // Reads what came within `seconds` and calls `answered`. Returns how many answers were whole.
  int pump(double seconds, const Answered& answered);
  Json exchange(Worker& worker, const std::string& bytes, int& status);

  uint16_t port_;
  std::string token_;
  int epoll_ = -1;
  int named_ = 0;
  std::deque<Worker> workers_;  // epoll keeps their addresses
  std::vector<int> silent_;
  std::mt19937 random_{1};
};

}  // namespace zeroth::bench
