#include "net/http_client.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

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

Clock::time_point after(Clock::time_point start, double seconds) {
  return start +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

HttpFault timed_out() { return {HttpFaultKind::kTimeout, "no answer in time"}; }

bool hung_up(const beast::error_code& error) {
  return error == http::error::end_of_stream || error == net::error::eof ||
         error == net::error::connection_reset || error == net::error::broken_pipe ||
         error == http::error::partial_message;
}

}  // namespace

HttpUrl parse_http_url(const std::string& url) {
  const auto wrong = [&](const std::string& why) {
    fail_usage("url \"" + url + "\": " + why, "write http://HOST:PORT/PATH");
  };
  if (url.rfind("https://", 0) == 0) wrong("https is not spoken here; put a local proxy in front");
  if (url.rfind("http://", 0) != 0) wrong("it does not begin with http://");
  const std::string rest = url.substr(7);
  const size_t slash = std::min(rest.find('/'), rest.size());
  HttpUrl out;
  out.path = slash == rest.size() ? "/" : rest.substr(slash);
  std::string host = rest.substr(0, slash);
  out.port = "80";
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

// A context and a socket that run one asynchronous step at a time, until a deadline.
struct HttpClient::Connection {
  net::io_context context;
  tcp::socket socket{context};
  beast::flat_buffer buffer;
  bool used = false;  // a request was answered on it

  // Runs what was begun; throws when the deadline came first (the socket is closed then).
  void run(Clock::time_point deadline) {
    context.restart();
    context.run_until(deadline);
    if (context.stopped()) return;
    beast::error_code ignored;
    socket.close(ignored);
    context.run_for(std::chrono::milliseconds(100));
    throw timed_out();
  }

  void connect(const HttpUrl& url, Clock::time_point deadline) {
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
  }

  beast::error_code exchange(const Request& request, Parser& parser, Clock::time_point deadline) {
    beast::error_code error;
    http::async_write(socket, request, [&](beast::error_code e, size_t) { error = e; });
    run(deadline);
    if (error) return error;
    http::async_read(socket, buffer, parser, [&](beast::error_code e, size_t) { error = e; });
    run(deadline);
    return error;
  }
};

HttpClient::HttpClient(HttpUrl url, uint64_t max_answer)
    : url_(std::move(url)), max_answer_(max_answer) {}
HttpClient::~HttpClient() = default;
void HttpClient::close() { connection_.reset(); }

HttpAnswer HttpClient::post(const std::string& json, double connect_seconds, double seconds,
                            const Headers& headers) {
  const auto start = Clock::now();
  Request request(http::verb::post, url_.path, 11);
  request.set(http::field::host, url_.host + ":" + url_.port);
  request.set(http::field::content_type, "application/json");
  request.set(http::field::accept, "application/json");
  for (const auto& [name, value] : headers) request.set(name, value);
  request.body() = json;
  request.prepare_payload();
  try {
    for (bool again = true;; again = false) {
      if (!connection_) {
        connection_ = std::make_unique<Connection>();
        connection_->connect(url_, after(start, connect_seconds));
      }
      Parser parser;
      parser.body_limit(max_answer_);
      const beast::error_code error = connection_->exchange(request, parser, after(start, seconds));
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
      // Bytes behind the answer belong to no request.
      if (!response.keep_alive() || connection_->buffer.size() > 0) close();
      return {static_cast<int>(response.result_int()), std::move(response.body())};
    }
  } catch (const HttpFault&) {
    close();
    throw;
  }
}

}  // namespace zeroth
