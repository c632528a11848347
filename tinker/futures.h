// Requests that are answered later: a client polls for what became of them. What nobody fetches is
// kept within a bound.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "net/http_server.h"
#include "tinker/messages.h"

namespace zeroth::tinker {

// What the protocol calls those who are to blame.
enum class Blame { kUser, kServer };

// Thread safe.
class Futures {
 public:
  // `most_bytes`: of results that wait to be fetched or may be fetched again; those that were fetched
  // go first, then the oldest.
  explicit Futures(uint64_t most_bytes = uint64_t{256} << 20) : most_bytes_(most_bytes) {}

  // False: it is there already, as a client asks again when an answer was lost.
  bool begin(const std::string& id);
  void finish(const std::string& id, Result result);
  void fail(const std::string& id, const std::string& message, Blame blame);
  // What was begun and will not be (a request that was refused for want of room).
  void forget(const std::string& id);

  // Answers now, when it is done, or after half a minute with "try again".
  void retrieve(const std::string& id, const HttpExchangePtr& exchange);
  // To be called about every second.
  void sweep();
  // Everybody who waits hears that the server ends.
  void end();
  int64_t pending() const;

 private:
  struct Entry {
    bool done = false, fetched = false;
    std::shared_ptr<const Result> result;  // null: it failed, as `failure` says
    std::string failure;
    uint64_t bytes = 0;
  };
  struct Waiter {
    HttpExchangePtr exchange;
    double until = 0;
  };
  void complete(const std::string& id, Entry entry);
  HttpReply reply_of(const Entry& entry, const HttpRequest& request) const;
  void bound();

  const uint64_t most_bytes_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, Entry> entries_;
  std::multimap<std::string, Waiter> waiters_;
  std::deque<std::string> done_, fetched_;  // oldest first
  uint64_t bytes_ = 0;
  int64_t pending_ = 0;
};

// An answer of the protocol that refuses: {"detail": ..}.
HttpReply refusal_reply(int status, const std::string& message);

}  // namespace zeroth::tinker
