// A small HTTP server for pages on this machine: many idle connections cost nothing, slow readers
// cannot fill the memory, and heavy answers are paced.
#pragma once

#include <atomic>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/status.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace zeroth {

using WebRequest = boost::beast::http::request<boost::beast::http::empty_body>;

struct WebReply {
  boost::beast::http::status status = boost::beast::http::status::ok;
  std::vector<std::pair<std::string, std::string>> headers;
  // Shared, so that many readers of one heavy page hold it once.
  std::shared_ptr<const std::string> body;
};

// What a request is; decided before it is answered, from its headers alone.
enum class WebKind {
  kPlain,   // answered by one of two threads
  kHeavy,   // answered one at a time, with pauses, so that asking for it all the time slows nothing
  kEvents,  // kept open; every notify() is one message to it
};

struct WebLimits {
  // Connections at a time, fewer where the limit of open files is low. When there are more, the one
  // that has been idle longest is closed for the new one.
  size_t connections = 256;
  size_t connections_of_address = 64;  // where not only this machine can connect
  double header_s = 10;                // from a connection (or its last answer) to a whole request
  double write_s = 10;                 // without progress of an answer
  uint64_t unread_bytes = 48u << 20;   // answers in memory; above it requests are told to wait
  double heavy_pause_s = 1;            // between two heavy answers
};

class WebServer {
 public:
  using Kind = std::function<WebKind(const WebRequest&)>;
  // Called on the server's threads, several at a time; must not throw.
  using Answer = std::function<WebReply(const WebRequest&)>;

  // Binds and listens at once; throws Error when the address or port cannot be had.
  WebServer(const std::string& address, uint16_t port, const WebLimits& limits);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  uint16_t port() const;
  bool loopback() const;  // only this machine can connect
  // Serves until `stop`; blocks, and looks at it about ten times a second. Once in the life of an
  // object.
  void run(const std::atomic<bool>& stop, Kind kind, Answer answer);
  // Sends a message to every open event stream. Any thread may call it while run() serves.
  void notify();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
