#include "net/http_session.h"

#include <netinet/tcp.h>

#include <algorithm>

#include "core/ascii.h"

namespace zeroth::http_detail {
namespace {

using asio::use_awaitable;
using Parser = http::request_parser<http::string_body>;
using Response = http::response<http::span_body<const char>>;
using Serializer = http::response_serializer<http::span_body<const char>>;

constexpr size_t kMaxQuery = 64;

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

std::string percent_decoded(std::string_view text, bool plus_is_blank) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool coded = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;
    out += coded ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]))
           : plus_is_blank && text[i] == '+' ? ' '
                                             : text[i];
    if (coded) i += 2;
  }
  return out;
}

HttpRequest head_of(const Parser& parser, const std::string& remote) {
  const auto& message = parser.get();
  HttpRequest request;
  request.remote = remote;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t mark = std::min(target.find('?'), target.size());
  request.path = percent_decoded(target.substr(0, mark), false);
  std::string_view rest = target.substr(std::min(mark + 1, target.size()));
  while (!rest.empty() && request.query.size() < kMaxQuery) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    request.query[percent_decoded(pair.substr(0, equals), true)] =
        percent_decoded(pair.substr(std::min(equals + 1, pair.size())), true);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const auto& field : message) {
    const std::string_view name(field.name_string().data(), field.name_string().size());
    request.headers[ascii::lower(name)] = std::string(field.value());
  }
  return request;
}

HttpReply plain_error(int status, const std::string& what) {
  HttpReply reply;
  reply.status = status;
  reply.text = "{\"error\":\"" + what + "\"}\n";
  if (status == 429 || status == 503) reply.headers = {{"Retry-After", "1"}};
  return reply;
}

beast::tcp_stream& lowest(beast::tcp_stream& stream) { return stream; }
beast::tcp_stream& lowest(beast::ssl_stream<beast::tcp_stream>& stream) {
  return stream.next_layer();
}

// Whether the client has closed its side, also behind bytes that nobody has read yet.
bool hung_up(tcp::socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
  return info.tcpi_state != TCP_ESTABLISHED;
}

// One connection. `Stream` is a TCP or a TLS stream.
template <class Stream>
class Session {
 public:
  Session(SharedPtr shared, Stream stream, std::list<Place>::iterator place)
      : shared_(std::move(shared)),
        options_(shared_->options),
        stream_(std::move(stream)),
        place_(place) {
    place_->close = [this] {
      lowest(stream_).close();
      if (exchange_) exchange_->gone();
    };
    shared_->waits(*place_);
  }
  ~Session() {
    shared_->works(*place_);
    shared_->places.erase(place_);
    shared_->count(&HttpServerStats::connections, -1);
  }

  asio::awaitable<void> run() {
    if (shared_->stopping) co_return;
    if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      lowest(stream_).expires_after(millis(options_.header_s));
      beast::error_code error;
      co_await stream_.async_handshake(asio::ssl::stream_base::server,
                                       asio::redirect_error(use_awaitable, error));
      if (error) {
        note(error);
        co_return;
      }
    }
    bool first = true;
    while (co_await serve_one(first)) {
      first = false;
      if (buffer_.capacity() > options_.header_bytes) buffer_.shrink_to_fit();
    }
    if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      lowest(stream_).expires_after(millis(1));
      beast::error_code ignored;
      co_await stream_.async_shutdown(asio::redirect_error(use_awaitable, ignored));
    } else {
      beast::error_code ignored;
      lowest(stream_).socket().shutdown(tcp::socket::shutdown_send, ignored);
    }
  }

 private:
  // Bytes of bodies that this request holds of the shared bound.
  struct Held {
    Shared& shared;
    uint64_t bytes = 0;
    ~Held() { shared.bodies -= bytes; }
  };

  void note(const beast::error_code& error) {
    if (error == beast::error::timeout) return shared_->count(&HttpServerStats::timed_out);
    if (error == http::error::end_of_stream || error == asio::error::eof ||
        error == asio::error::connection_reset || error == asio::error::operation_aborted ||
        error == asio::ssl::error::stream_truncated || error == http::error::partial_message)
      return;
    shared_->count(&HttpServerStats::malformed);
  }

  // False: the connection ends.
  asio::awaitable<bool> serve_one(bool first) {
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(options_.header_bytes));
    parser.body_limit(0);
    shared_->waits(*place_);
    lowest(stream_).expires_after(millis(first ? options_.header_s : options_.idle_s));
    beast::error_code error;
    // The limit of a body is not known yet, so a length in the header is no error here.
    parser.body_limit(boost::none);
    co_await http::async_read_header(stream_, buffer_, parser,
                                     asio::redirect_error(use_awaitable, error));
    if (error) {
      note(error);
      if (error == http::error::header_limit)
        co_await send(plain_error(431, "the headers are too long"), false, false);
      co_return false;
    }
    shared_->works(*place_);
    shared_->count(&HttpServerStats::requests);
    HttpRequest request = head_of(parser, place_->remote);
    const bool keep = parser.get().keep_alive();
    const bool has_body = !parser.is_done();
    uint64_t limit = 0;
    if (auto refusal = shared_->admit(request, limit)) {
      shared_->count(&HttpServerStats::refused);
      const bool whole = !has_body || co_await discard_body(parser);
      co_return co_await send(std::move(*refusal), keep && whole, request.method == "HEAD");
    }
    place_->known = true;
    Held held{*shared_};
    if (has_body && !co_await read_body(parser, limit, request, held)) co_return false;
    co_return co_await answer(std::move(request), keep);
  }

  // A client that is still sending might not see an answer, so short bodies are read and dropped.
  asio::awaitable<bool> discard_body(Parser& parser) {
    constexpr uint64_t kShort = 1 << 20;
    const auto length = parser.content_length();
    if (!length || *length > kShort ||
        beast::iequals(parser.get()[http::field::expect], "100-continue"))
      co_return false;
    parser.body_limit(kShort);
    beast::error_code error;
    while (!error && !parser.is_done()) {
      lowest(stream_).expires_after(millis(options_.body_s));
      co_await http::async_read_some(stream_, buffer_, parser,
                                     asio::redirect_error(use_awaitable, error));
      parser.get().body().clear();
    }
    co_return !error;
  }

  asio::awaitable<bool> read_body(Parser& parser, uint64_t limit, HttpRequest& request,
                                  Held& held) {
    const auto length = parser.content_length();
    if (length && *length > limit) {
      shared_->count(&HttpServerStats::oversized);
      co_await send(plain_error(413, "the body is longer than " + std::to_string(limit) +
                                         " bytes, the most that is read here"),
                    false, false);
      co_return false;
    }
    // Of unknown length: it may become as long as the limit.
    const uint64_t wanted = length ? *length : limit;
    if (shared_->bodies + wanted > options_.bodies_bytes) {
      co_await send(plain_error(429, "too many bodies are being read"), false, false);
      co_return false;
    }
    shared_->bodies += wanted;
    held.bytes = wanted;
    parser.body_limit(limit);
    beast::error_code error;
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      lowest(stream_).expires_after(millis(options_.write_s));
      static constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream_, asio::buffer(kGoOn.data(), kGoOn.size()),
                                 asio::redirect_error(use_awaitable, error));
    }
    while (!error && !parser.is_done()) {
      lowest(stream_).expires_after(millis(options_.body_s));
      co_await http::async_read_some(stream_, buffer_, parser,
                                     asio::redirect_error(use_awaitable, error));
    }
    if (error) {
      const bool over = error == http::error::body_limit;
      if (over) shared_->count(&HttpServerStats::oversized);
      if (!over) note(error);
      if (over) co_await send(plain_error(413, "the body is too long"), false, false);
      co_return false;
    }
    request.body = std::move(parser.get().body());
    shared_->count(&HttpServerStats::bytes_in, static_cast<int64_t>(request.body.size()));
    co_return true;
  }

  asio::awaitable<bool> answer(HttpRequest request, bool keep) {
    const bool head = request.method == "HEAD";
    const auto exchange = std::make_shared<Exchange>(shared_, std::move(request));
    exchange_ = exchange.get();
    const bool again = co_await answer(exchange, keep, head);
    exchange_ = nullptr;
    exchange->gone();
    co_return again;
  }

  asio::awaitable<bool> answer(std::shared_ptr<Exchange> exchange, bool keep, bool head) {
    if (shared_->stopping) co_return false;
    shared_->handle(exchange);
    // Most are answered at once: nobody waits, nobody is watched.
    if (auto whole = exchange->take_whole()) co_return co_await send(std::move(*whole), keep, head);
    watch(exchange);
    lowest(stream_).expires_never();
    for (bool begun = false;;) {
      co_await exchange->wait();
      if (!exchange->open() && !exchange->streaming()) {
        Exchange::Pending last = exchange->take();
        if (!last.whole) co_return false;  // the client has gone
        unwatch();
        co_return co_await send(std::move(*last.whole), keep, head);
      }
      Exchange::Pending next = exchange->take();
      if (next.streamed.empty() && !next.last && !exchange->open()) co_return false;
      if (!begun) unwatch();
      begun = true;
      if (!co_await send_bytes(next.streamed)) {
        exchange->gone();
        co_return false;
      }
      if (next.last) co_return keep && exchange->streaming();
      if (!exchange->open()) co_return false;
    }
  }

  // Notices a client that goes away while its answer is being made.
  void watch(const std::shared_ptr<Exchange>& exchange) {
    watching_ = true;
    lowest(stream_).socket().async_wait(tcp::socket::wait_read,
                                        [this, exchange](beast::error_code error) {
                                          if (error || !exchange->open()) return;
                                          if (hung_up(lowest(stream_).socket()))
                                            return exchange->gone();
                                          look_again(exchange);
                                        });
  }
  // It has sent more (a next request, or TLS' goodbye), so waiting for bytes tells nothing.
  void look_again(const std::shared_ptr<Exchange>& exchange) {
    watch_timer_.expires_after(millis(0.5));
    watch_timer_.async_wait([this, exchange](beast::error_code error) {
      if (error || !exchange->open()) return;
      if (hung_up(lowest(stream_).socket())) return exchange->gone();
      look_again(exchange);
    });
  }
  void unwatch() {
    beast::error_code ignored;
    if (watching_) lowest(stream_).socket().cancel(ignored);
    watch_timer_.cancel();
    watching_ = false;
  }

  asio::awaitable<bool> send(HttpReply reply, bool keep, bool head) {
    const std::string_view body = reply.owner ? reply.bytes : std::string_view(reply.text);
    Response response(static_cast<http::status>(reply.status), 11);
    response.set(http::field::content_type, reply.type);
    for (const auto& [name, value] : reply.headers) response.set(name, value);
    response.keep_alive(keep);
    response.body() = {body.data(), body.size()};
    response.prepare_payload();
    Serializer serializer(response);
    serializer.split(head);
    beast::error_code error;
    while (!error && !(head ? serializer.is_header_done() : serializer.is_done())) {
      lowest(stream_).expires_after(millis(options_.write_s));
      if (head) {
        co_await http::async_write_header(stream_, serializer,
                                          asio::redirect_error(use_awaitable, error));
      } else {
        co_await http::async_write_some(stream_, serializer,
                                        asio::redirect_error(use_awaitable, error));
      }
    }
    if (error) note(error);
    if (!error) shared_->count(&HttpServerStats::bytes_out, static_cast<int64_t>(body.size()));
    co_return keep && !error;
  }

  asio::awaitable<bool> send_bytes(const std::string& bytes) {
    beast::error_code error;
    for (size_t done = 0; !error && done < bytes.size();) {
      lowest(stream_).expires_after(millis(options_.write_s));
      done +=
          co_await stream_.async_write_some(asio::buffer(bytes.data() + done, bytes.size() - done),
                                            asio::redirect_error(use_awaitable, error));
    }
    if (error) note(error);
    shared_->count(&HttpServerStats::bytes_out, static_cast<int64_t>(bytes.size()));
    lowest(stream_).expires_never();
    co_return !error;
  }

  SharedPtr shared_;
  const HttpServerOptions& options_;
  Stream stream_;
  std::list<Place>::iterator place_;
  beast::flat_buffer buffer_{1 << 20};
  bool watching_ = false;
  asio::steady_timer watch_timer_{shared_->context};
  Exchange* exchange_ = nullptr;  // that is being answered
};

std::string chunk(const std::string& piece) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  return size + piece + "\r\n";
}

}  // namespace

void Exchange::wake() {
  if (!std::exchange(asleep_, false)) return;
  // Nothing but the session and the handler own an exchange: the context must not, or what a server
  // that has stopped never runs would keep both for ever.
  asio::post(shared_->context, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake_.cancel();
  });
}

void Exchange::reply(HttpReply reply) {
  std::lock_guard lock(mutex_);
  if (answered_) return;
  answered_ = true;
  open_ = false;
  whole_ = std::move(reply);
  wake();
}

void Exchange::begin(int status, const std::string& type) {
  std::lock_guard lock(mutex_);
  if (answered_) return;
  answered_ = true;
  streaming_ = true;
  queue_ = "HTTP/1.1 " + std::to_string(status) + " " +
           std::string(http::obsolete_reason(static_cast<http::status>(status))) +
           "\r\nContent-Type: " + type +
           "\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
  wake();
}

bool Exchange::write(std::string piece) {
  std::lock_guard lock(mutex_);
  if (!streaming_ || last_ || !open_) return false;
  if (piece.empty()) return true;
  if (queue_.size() + piece.size() > shared_->options.stream_bytes) {
    overrun_ = true;
    open_ = false;
  } else {
    queue_ += chunk(piece);
  }
  wake();
  return open_;
}

void Exchange::end() {
  std::lock_guard lock(mutex_);
  if (!streaming_ || last_) return;
  last_ = true;
  queue_ += "0\r\n\r\n";
  wake();
}

asio::awaitable<void> Exchange::wait() {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (waiting() || !open_) co_return;
      asleep_ = true;
    }
    beast::error_code cancelled;
    co_await wake_.async_wait(asio::redirect_error(use_awaitable, cancelled));
  }
}

std::optional<HttpReply> Exchange::take_whole() {
  std::lock_guard lock(mutex_);
  return std::exchange(whole_, std::nullopt);
}

Exchange::Pending Exchange::take() {
  std::lock_guard lock(mutex_);
  Pending out;
  out.whole = std::exchange(whole_, std::nullopt);
  if (overrun_) return out;  // cut off
  out.streamed = std::exchange(queue_, {});
  out.last = last_;
  if (last_) open_ = false;
  return out;
}

asio::awaitable<void> serve_plain(SharedPtr shared, beast::tcp_stream stream,
                                  std::list<Place>::iterator place) {
  Session<beast::tcp_stream> session(std::move(shared), std::move(stream), place);
  co_await session.run();
}

asio::awaitable<void> serve_tls(SharedPtr shared, beast::ssl_stream<beast::tcp_stream> stream,
                                std::list<Place>::iterator place) {
  Session<beast::ssl_stream<beast::tcp_stream>> session(std::move(shared), std::move(stream),
                                                        place);
  co_await session.run();
}

}  // namespace zeroth::http_detail
