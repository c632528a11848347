#include "inspect/web.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"

namespace zeroth {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using Clock = std::chrono::steady_clock;
using Response = http::response<http::span_body<const char>>;

constexpr uint32_t kMaxHeaderBytes = 16 * 1024;
constexpr double kHeartbeatS = 10;

std::chrono::milliseconds seconds(double s) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * s));
}

// Some files stay free for the index, the stream and the page.
size_t connections_allowed(size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  const size_t files = limit.rlim_cur;
  return std::clamp<size_t>(files > 64 ? files - 48 : files / 4, 4, wanted);
}

}  // namespace

struct WebServer::Impl {
  class Connection;

  WebLimits limits;
  net::io_context context{1};
  tcp::acceptor acceptor{context};
  net::steady_timer retry{context};
  bool loopback = true;
  Kind kind;
  Answer answer;
  // In the order of their becoming idle or being accepted. Only the thread of run() uses them.
  std::list<std::shared_ptr<Connection>> connections;
  uint64_t unread = 0;  // bytes of answers that are not shared
  uint64_t messages = 0;

  // Heavy requests wait here for their turn.
  std::mutex heavy_mutex;
  std::condition_variable heavy_changed;
  std::list<std::shared_ptr<Connection>> heavy;
  bool stopping = false;

  net::thread_pool workers{2};
  std::thread heavy_worker;

  Impl(const std::string& address_text, uint16_t port, const WebLimits& with) : limits(with) {
    limits.connections = connections_allowed(limits.connections);
    beast::error_code error;
    const auto address = net::ip::make_address(address_text, error);
    if (error) {
      fail_usage("\"" + address_text + "\" is no IP address",
                 "use 127.0.0.1, ::1, or 0.0.0.0 for every interface");
    }
    loopback = address.is_loopback();
    const tcp::endpoint endpoint(address, port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
    if (error) {
      fail("cannot listen on " + address_text + " port " + std::to_string(port) + ": " +
               error.message(),
           error == net::error::address_in_use
               ? "another program uses that port: give another --port, or 0 for any free one"
               : "give another --address or --port");
    }
  }

  void accept();
  void add(tcp::socket socket);
  bool make_room(const net::ip::address& address);
  void forget(const std::shared_ptr<Connection>& connection);
  void queue_heavy(const std::shared_ptr<Connection>& connection);
  void serve_heavy();
  void run(const std::atomic<bool>& stop);
};

// One client. All members are used by the thread of run() alone, but for request() while the
// answer is being made.
class WebServer::Impl::Connection : public std::enable_shared_from_this<Connection> {
 public:
  enum class State { kIdle, kWorking, kWriting, kEvents };

  Connection(Impl& server, tcp::socket socket)
      : server_(server), stream_(std::move(socket)), heartbeat_(server.context) {
    beast::error_code error;
    address_ = stream_.socket().remote_endpoint(error).address();
  }

  State state() const { return state_; }
  const net::ip::address& address() const { return address_; }
  const WebRequest& request() const { return request_; }
  bool closed() const { return closed_; }
  Clock::time_point since() const { return since_; }

  void read() {
    become(State::kIdle);
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(0);
    stream_.expires_after(seconds(server_.limits.header_s));
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, size_t) {
                       if (error) return self->close();
                       self->take_request();
                     });
  }

  // Takes the answer of a worker.
  void send(WebReply reply) {
    if (closed_) return;
    become(State::kWriting);
    reply_ = std::move(reply);
    if (!reply_.body) reply_.body = std::make_shared<const std::string>();
    // One that others hold too is counted by nobody: it is there once.
    counted_ = reply_.body.use_count() == 1 ? reply_.body->size() : 0;
    server_.unread += counted_;
    response_.emplace(reply_.status, 11);
    for (const auto& [name, value] : reply_.headers) response_->set(name, value);
    response_->body() = {reply_.body->data(), reply_.body->size()};
    response_->keep_alive(request_.keep_alive());
    response_->prepare_payload();
    serializer_.emplace(*response_);
    if (request_.method() == http::verb::head) serializer_->split(true);
    write();
  }

  // A message for an event stream.
  void notify() {
    if (state_ == State::kEvents) send_text("data: " + std::to_string(server_.messages) + "\n\n");
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    heartbeat_.cancel();
    beast::error_code ignored;
    stream_.socket().close(ignored);
    release();
    server_.forget(shared_from_this());
  }

 private:
  void become(State state) {
    state_ = state;
    since_ = Clock::now();
  }

  void release() {
    server_.unread -= counted_;
    counted_ = 0;
    serializer_.reset();
    response_.reset();
    reply_ = {};
  }

  void take_request() {
    request_ = parser_->release();
    become(State::kWorking);
    stream_.expires_never();
    const WebKind kind = server_.kind(request_);
    if (kind == WebKind::kEvents) return start_events();
    if (server_.unread > server_.limits.unread_bytes) return send(busy());
    if (kind == WebKind::kHeavy) return server_.queue_heavy(shared_from_this());
    net::post(server_.workers, [self = shared_from_this()] {
      WebReply reply = self->server_.answer(self->request_);
      net::post(self->server_.context,
                [self, reply = std::move(reply)]() mutable { self->send(std::move(reply)); });
    });
  }

  static WebReply busy() {
    WebReply reply;
    reply.status = http::status::service_unavailable;
    reply.headers = {{"Content-Type", "application/json"}, {"Retry-After", "5"}};
    reply.body = std::make_shared<const std::string>(
        R"({"error":"too many answers wait to be read; try again in a moment"})");
    return reply;
  }

  // Piece by piece, each with its own deadline: a slow reader may take its time, a dead one not.
  void write() {
    stream_.expires_after(seconds(server_.limits.write_s));
    const auto written = [self = shared_from_this()](beast::error_code error, size_t) {
      if (self->closed_) return;
      if (error) return self->close();
      const bool head = self->request_.method() == http::verb::head;
      if (!(head ? self->serializer_->is_header_done() : self->serializer_->is_done()))
        return self->write();
      const bool again = self->response_->keep_alive();
      self->release();
      if (!again) return self->close();
      self->read();
    };
    if (request_.method() == http::verb::head) {
      http::async_write_header(stream_, *serializer_, written);
    } else {
      http::async_write_some(stream_, *serializer_, written);
    }
  }

  void start_events() {
    become(State::kEvents);
    send_text(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nretry: 2000\n\n");
    beat();
    watch_for_end();
  }

  void beat() {
    heartbeat_.expires_after(seconds(kHeartbeatS));
    heartbeat_.async_wait([self = shared_from_this()](beast::error_code error) {
      if (error || self->closed_) return;
      self->send_text(": still here\n\n");
      self->beat();
    });
  }

  // A client that goes away ends the read; what it sends is ignored.
  void watch_for_end() {
    stream_.socket().async_read_some(net::buffer(ignored_),
                                     [self = shared_from_this()](beast::error_code error, size_t) {
                                       if (error) return self->close();
                                       self->watch_for_end();
                                     });
  }

  // At most one message waits: they all say the same.
  void send_text(std::string text) {
    if (writing_text_) {
      waiting_text_ = std::move(text);
      return;
    }
    writing_text_ = true;
    text_ = std::move(text);
    stream_.expires_after(seconds(server_.limits.write_s));
    net::async_write(stream_, net::buffer(text_),
                     [self = shared_from_this()](beast::error_code error, size_t) {
                       self->writing_text_ = false;
                       if (self->closed_) return;
                       if (error) return self->close();
                       self->stream_.expires_never();
                       if (self->waiting_text_.empty()) return;
                       self->send_text(std::exchange(self->waiting_text_, {}));
                     });
  }

  Impl& server_;
  beast::tcp_stream stream_;
  net::steady_timer heartbeat_;
  net::ip::address address_;
  beast::flat_buffer buffer_{2 * kMaxHeaderBytes};
  std::optional<http::request_parser<http::empty_body>> parser_;
  WebRequest request_;
  WebReply reply_;
  std::optional<Response> response_;
  std::optional<http::response_serializer<http::span_body<const char>>> serializer_;
  uint64_t counted_ = 0;
  State state_ = State::kIdle;
  Clock::time_point since_ = Clock::now();
  std::atomic<bool> closed_{false};  // the heavy worker looks too
  bool writing_text_ = false;
  std::string text_, waiting_text_;
  char ignored_[64];
};

void WebServer::Impl::accept() {
  acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (!error) {
      add(std::move(socket));
      return accept();
    }
    // Out of files: an idle connection gives one back. Never try again at once, that would spin.
    make_room({});
    retry.expires_after(std::chrono::milliseconds(100));
    retry.async_wait([this](beast::error_code cancelled) {
      if (!cancelled && acceptor.is_open()) accept();
    });
  });
}

void WebServer::Impl::add(tcp::socket socket) {
  beast::error_code error;
  const auto address = socket.remote_endpoint(error).address();
  const auto same = static_cast<size_t>(
      std::count_if(connections.begin(), connections.end(),
                    [&](const auto& other) { return other->address() == address; }));
  const bool crowded = !loopback && same >= limits.connections_of_address;
  if ((crowded || connections.size() >= limits.connections) &&
      !make_room(crowded ? address : net::ip::address()))
    return;
  connections.push_back(std::make_shared<Connection>(*this, std::move(socket)));
  connections.back()->read();
}

// Closes the connection that can be missed most: one that asks for nothing, then an event stream
// (its page connects again), then one that has been reading an answer for long. Of `address` only,
// when it is given.
bool WebServer::Impl::make_room(const net::ip::address& address) {
  using State = Connection::State;
  const bool any = address == net::ip::address();
  const auto now = Clock::now();
  for (const State wanted : {State::kIdle, State::kEvents, State::kWriting}) {
    std::shared_ptr<Connection> oldest;
    for (const auto& one : connections) {
      if (one->state() != wanted || (!any && one->address() != address)) continue;
      if (wanted == State::kWriting && now - one->since() < std::chrono::seconds(2)) continue;
      if (!oldest || one->since() < oldest->since()) oldest = one;
    }
    if (!oldest) continue;
    oldest->close();
    return true;
  }
  return false;
}

void WebServer::Impl::forget(const std::shared_ptr<Connection>& connection) {
  connections.remove(connection);
}

void WebServer::Impl::queue_heavy(const std::shared_ptr<Connection>& connection) {
  std::lock_guard lock(heavy_mutex);
  heavy.push_back(connection);
  heavy_changed.notify_all();
}

void WebServer::Impl::serve_heavy() {
  std::unique_lock lock(heavy_mutex);
  for (;;) {
    heavy_changed.wait(lock, [&] { return stopping || !heavy.empty(); });
    if (stopping) return;
    const auto connection = heavy.front();
    heavy.pop_front();
    if (connection->closed()) continue;
    lock.unlock();
    WebReply reply = answer(connection->request());
    net::post(context, [connection, reply = std::move(reply)]() mutable {
      connection->send(std::move(reply));
    });
    lock.lock();
    heavy_changed.wait_for(lock, seconds(limits.heavy_pause_s), [&] { return stopping; });
  }
}

void WebServer::Impl::run(const std::atomic<bool>& stop) {
  heavy_worker = std::thread([this] { serve_heavy(); });
  accept();
  while (!stop) {
    context.restart();
    context.run_for(std::chrono::milliseconds(100));
  }
  beast::error_code ignored;
  acceptor.close(ignored);
  retry.cancel();
  {
    std::lock_guard lock(heavy_mutex);
    stopping = true;
    heavy.clear();
    heavy_changed.notify_all();
  }
  while (!connections.empty()) connections.front()->close();
  workers.stop();  // what has not begun is not begun
  workers.join();
  heavy_worker.join();
  context.restart();
  context.run_for(std::chrono::milliseconds(100));  // the ends of what was cut off
}

WebServer::WebServer(const std::string& address, uint16_t port, const WebLimits& limits)
    : impl_(std::make_unique<Impl>(address, port, limits)) {}

WebServer::~WebServer() = default;

uint16_t WebServer::port() const { return impl_->acceptor.local_endpoint().port(); }

bool WebServer::loopback() const { return impl_->loopback; }

void WebServer::run(const std::atomic<bool>& stop, Kind kind, Answer answer) {
  impl_->kind = std::move(kind);
  impl_->answer = std::move(answer);
  impl_->run(stop);
}

void WebServer::notify() {
  net::post(impl_->context, [this] {
    ++impl_->messages;
    for (const auto& connection : std::list(impl_->connections)) connection->notify();
  });
}

}  // namespace zeroth
