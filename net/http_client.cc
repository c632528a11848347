#include "net/http_client.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <cstring>
#include <optional>

#include "core/ascii.h"
#include "core/error.h"

namespace zeroth {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using Clock = std::chrono::steady_clock;
using Request = http::request<http::string_body>;
using Parser = http::response_parser<http::string_body>;

constexpr size_t kReadAtOnce = 1 << 20;

Clock::time_point after(Clock::time_point start, double seconds) {
  return start +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

HttpFault timed_out() { return {HttpFaultKind::kTimeout, "no answer in time"}; }

bool hung_up(const beast::error_code& error) {
  return error == http::error::end_of_stream || error == net::error::eof ||
         error == net::error::connection_reset || error == net::error::broken_pipe ||
         error == net::ssl::error::stream_truncated || error == http::error::partial_message;
}

}  // namespace

HttpUrl parse_web_url(const std::string& url) {
  const auto wrong = [&](const std::string& why) {
    fail_usage("url \"" + url + "\": " + why, "write http://HOST:PORT/PATH");
  };
  HttpUrl out;
  out.tls = url.rfind("https://", 0) == 0;
  if (!out.tls && url.rfind("http://", 0) != 0) wrong("it does not begin with http://");
  const std::string rest = url.substr(out.tls ? 8 : 7);
  const size_t slash = std::min(rest.find('/'), rest.size());
  out.path = slash == rest.size() ? "/" : rest.substr(slash);
  std::string host = rest.substr(0, slash);
  out.port = out.tls ? "443" : "80";
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    out.port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  out.host = host;
  const bool digits = !out.port.empty() && out.port.size() <= 5 &&
                      out.port.find_first_not_of("0123456789") == std::string::npos &&
                      std::stoi(out.port) <= 65535;
  if (out.host.empty() || !digits) wrong("host or port is wrong");
  if (url.find_first_of(" \t\r\n") != std::string::npos) wrong("it holds blanks");
  return out;
}

HttpUrl parse_http_url(const std::string& url) {
  if (url.rfind("https://", 0) == 0) {
    fail_usage("url \"" + url + "\": https is not spoken here; put a local proxy in front",
               "write http://HOST:PORT/PATH");
  }
  return parse_web_url(url);
}

// A context and a socket that run one asynchronous step at a time, until a deadline.
struct HttpClient::Connection {
  using Secure = net::ssl::stream<tcp::socket&>;
  net::io_context context;
  tcp::socket socket{context};
  std::optional<net::ssl::context> tls;
  std::optional<Secure> secure;
  beast::flat_buffer buffer;
  bool used = false;  // a request was answered on it
  const std::atomic<bool>* stop = nullptr;

  // Runs what was begun; throws when the deadline came first (the socket is closed then).
  void run(Clock::time_point deadline) {
    context.restart();
    while (!(stop && stop->load())) {
      const auto next =
          stop ? std::min(deadline, Clock::now() + std::chrono::milliseconds(50)) : deadline;
      context.run_until(next);
      if (context.stopped()) return;
      if (Clock::now() >= deadline) break;
    }
    beast::error_code ignored;
    socket.close(ignored);
    context.run_for(std::chrono::milliseconds(100));
    throw timed_out();
  }

  void connect(const HttpUrl& url, const HttpTrust& trust, Clock::time_point deadline) {
    beast::error_code error;
    tcp::resolver resolver(context);
    tcp::resolver::results_type endpoints;
    resolver.async_resolve(url.host, url.port, [&](beast::error_code e, auto results) {
      error = e;
      endpoints = results;
    });
    run(deadline);
    if (!error) {
      net::async_connect(socket, endpoints,
                         [&](beast::error_code e, const tcp::endpoint&) { error = e; });
      run(deadline);
    }
    if (error) throw HttpFault(HttpFaultKind::kUnreachable, error.message());
    socket.set_option(tcp::no_delay(true), error);
    if (url.tls) shake_hands(url, trust, deadline);
  }

  void shake_hands(const HttpUrl& url, const HttpTrust& trust, Clock::time_point deadline) {
    tls.emplace(net::ssl::context::tlsv13_client);
    beast::error_code error;
    if (trust.ca_file.empty()) {
      tls->set_default_verify_paths(error);
    } else {
      tls->load_verify_file(trust.ca_file, error);
    }
    if (error) fail_usage(trust.ca_file + ": " + error.message(), "give a PEM file to trust");
    tls->set_verify_mode(net::ssl::verify_peer);
    tls->set_verify_callback(net::ssl::host_name_verification(url.host));
    secure.emplace(socket, *tls);
    net::ip::make_address(url.host, error);  // names only: addresses are not sent
    if (error) ::SSL_set_tlsext_host_name(secure->native_handle(), url.host.c_str());
    error = {};
    secure->async_handshake(net::ssl::stream_base::client, [&](beast::error_code e) { error = e; });
    run(deadline);
    if (error) throw HttpFault(HttpFaultKind::kUnreachable, "TLS: " + error.message());
  }

  // What the parser has left of a body and the rest of it, straight to where it is wanted.
  template <class Stream>
  beast::error_code receive(Stream& stream, std::span<char> into, size_t& received,
                            Clock::time_point deadline) {
    received = std::min(buffer.size(), into.size());
    std::memcpy(into.data(), buffer.data().data(), received);
    buffer.consume(received);
    beast::error_code error;
    const std::span<char> rest = into.subspan(received);
    const auto piece = [](const beast::error_code& e, size_t) { return e ? 0 : kReadAtOnce; };
    net::async_read(stream, net::buffer(rest.data(), rest.size()), piece,
                    [&](beast::error_code e, size_t n) {
                      error = e;
                      received += n;
                    });
    run(deadline);
    return error;
  }

  template <class Stream>
  beast::error_code exchange(Stream& stream, const Request& request, Parser& parser,
                             const HttpCall& call, Clock::time_point deadline) {
    beast::error_code error;
    http::async_write(stream, request, [&](beast::error_code e, size_t) { error = e; });
    run(deadline);
    if (error && !hung_up(error)) return error;
    // A server that refuses what it has not read yet may have answered all the same.
    const beast::error_code written = error;
    error = {};
    if (!call.into.empty()) {
      http::async_read_header(stream, buffer, parser,
                              [&](beast::error_code e, size_t) { error = e; });
      run(deadline);
      if (!error && fits(parser, call.into.size())) {
        size_t none = 0, &received = call.received ? *call.received : none;
        return receive(stream, call.into.first(*parser.content_length()), received, deadline);
      }
    }
    if (!error && !parser.is_done()) {
      http::async_read(stream, buffer, parser, [&](beast::error_code e, size_t) { error = e; });
      run(deadline);
    }
    return error && written ? written : error;
  }
  // Whether the body whose header was read goes to `size` bytes of the caller's.
  static bool fits(const Parser& parser, size_t size) {
    const http::status status = parser.get().result();
    return (status == http::status::ok || status == http::status::partial_content) &&
           parser.content_length() && *parser.content_length() <= size;
  }
  beast::error_code exchange(const Request& request, Parser& parser, const HttpCall& call,
                             Clock::time_point deadline) {
    return secure ? exchange(*secure, request, parser, call, deadline)
                  : exchange(socket, request, parser, call, deadline);
  }
};

HttpClient::HttpClient(HttpUrl url, uint64_t max_answer, const HttpTrust& trust)
    : url_(std::move(url)), max_answer_(max_answer), trust_(trust) {}
HttpClient::~HttpClient() = default;
void HttpClient::close() { connection_.reset(); }

HttpAnswer HttpClient::post(const std::string& json, double connect_seconds, double seconds,
                            const Headers& headers) {
  return send({.body = json, .headers = headers}, connect_seconds, seconds);
}

HttpAnswer HttpClient::send(const HttpCall& call, double connect_seconds, double seconds,
                            const std::atomic<bool>* stop) {
  const auto start = Clock::now();
  Request request(http::string_to_verb(call.method), call.target.empty() ? url_.path : call.target,
                  11);
  request.set(http::field::host, url_.host + ":" + url_.port);
  request.set(http::field::accept, call.type);
  for (const auto& [name, value] : call.headers) request.set(name, value);
  if (call.method != "GET") {
    request.set(http::field::content_type, call.type);
    request.body() = call.body;
    request.prepare_payload();
  }
  try {
    for (bool again = true;; again = false) {
      if (!connection_) {
        connection_ = std::make_unique<Connection>();
        connection_->stop = stop;
        connection_->connect(url_, trust_, after(start, connect_seconds));
      }
      connection_->stop = stop;
      Parser parser;
      parser.body_limit(max_answer_);
      const beast::error_code error =
          connection_->exchange(request, parser, call, after(start, seconds));
      if (error && connection_->used && again && !parser.got_some()) {
        close();  // it closed the idle connection before it saw the request
        continue;
      }
      if (error) {
        throw HttpFault(hung_up(error) ? HttpFaultKind::kClosed : HttpFaultKind::kGarbage,
                        error.message());
      }
      connection_->used = true;
      auto response = parser.release();
      HttpAnswer answer{static_cast<int>(response.result_int()), std::move(response.body()), {}};
      for (const auto& field : response) {
        const std::string_view name(field.name_string().data(), field.name_string().size());
        answer.headers[ascii::lower(name)] = std::string(field.value());
      }
      // Bytes behind the answer belong to no request.
      if (!response.keep_alive() || connection_->buffer.size() > 0) close();
      return answer;
    }
  } catch (const HttpFault&) {
    close();
    throw;
  }
}

}  // namespace zeroth
