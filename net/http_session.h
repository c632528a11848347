// Inside of HttpServer: one connection, as a coroutine on the server's thread.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <optional>

#include "net/http_server.h"

namespace zeroth::http_detail {

namespace beast = boost::beast;
namespace http = beast::http;
namespace asio = boost::asio;
using tcp = asio::ip::tcp;

// What a connection is to those who make room for new ones. Server's thread only.
struct Place {
  std::string remote;
  bool known = false;  // it has sent a request that was let in
  std::function<void()> close;
  // Its place among Shared::strangers while it is one.
  std::optional<std::list<Place*>::iterator> stranger = {};
};

// Shared by the sessions of one server.
struct Shared {
  explicit Shared(const HttpServerOptions& with) : options(with) {}
  HttpServerOptions options;
  asio::io_context context{1};
  HttpServer::Admit admit;
  HttpServer::Handle handle;
  std::list<Place> places;
  // Connections that never sent a request that was let in and wait for one; idle longest first. So
  // a crowd costs nobody a look at all places.
  std::list<Place*> strangers;
  uint64_t bodies = 0;  // bytes
  bool stopping = false;
  mutable std::mutex mutex;
  HttpServerStats stats;  // guarded by mutex

  void count(int64_t HttpServerStats::*what, int64_t by = 1) {
    std::lock_guard lock(mutex);
    stats.*what += by;
  }
  // The connection waits for a request from now on, or does so no longer.
  void waits(Place& place) {
    works(place);
    if (!place.known) place.stranger = strangers.insert(strangers.end(), &place);
  }
  void works(Place& place) {
    if (place.stranger) strangers.erase(*place.stranger);
    place.stranger.reset();
  }
};
using SharedPtr = std::shared_ptr<Shared>;

inline std::chrono::milliseconds millis(double s) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * s));
}

class Exchange : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(SharedPtr shared, HttpRequest request)
      : shared_(std::move(shared)), request_(std::move(request)), wake_(shared_->context) {
    wake_.expires_at(asio::steady_timer::time_point::max());
  }

  const HttpRequest& request() const override { return request_; }
  void reply(HttpReply reply) override;
  void begin(int status, const std::string& type) override;
  bool write(std::string piece) override;
  void end() override;
  bool open() const override { return open_; }

  // For the session, on the server's thread. wait() returns when there is something to send or the
  // client has gone.
  asio::awaitable<void> wait();
  void gone() {
    open_ = false;
    wake_.cancel();
  }
  struct Pending {
    std::optional<HttpReply> whole;
    std::string streamed;  // framed as chunks
    bool last = false;
  };
  Pending take();
  bool streaming() const { return streaming_; }
  // The answer, when it is whole already.
  std::optional<HttpReply> take_whole();

 private:
  // Holding mutex_.
  void wake();
  bool waiting() const { return whole_ || !queue_.empty() || last_; }

  SharedPtr shared_;
  const HttpRequest request_;
  asio::steady_timer wake_;
  std::atomic<bool> open_{true};
  mutable std::mutex mutex_;  // guards what follows
  std::optional<HttpReply> whole_;
  std::string queue_;
  bool answered_ = false, last_ = false, overrun_ = false;
  bool asleep_ = false;  // wait() does, so somebody must wake it
  std::atomic<bool> streaming_{false};
};

// Serves requests until the client, a limit or the server ends the connection.
asio::awaitable<void> serve_plain(SharedPtr shared, beast::tcp_stream stream,
                                  std::list<Place>::iterator place);
asio::awaitable<void> serve_tls(SharedPtr shared, beast::ssl_stream<beast::tcp_stream> stream,
                                std::list<Place>::iterator place);

}  // namespace zeroth::http_detail
