#include "inspect/server.h"

#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/error.h"
#include "inspect/page.h"

namespace zeroth {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

constexpr size_t kMaxConnections = 64;
constexpr uint32_t kMaxHeaderBytes = 16 * 1024;
constexpr auto kIdle = std::chrono::seconds(30);

constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string percent_decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

struct Target {
  std::string path;
  std::map<std::string, std::string> query;

  explicit Target(std::string_view text) {
    const size_t mark = text.find('?');
    path = percent_decoded(text.substr(0, mark));
    if (mark == std::string_view::npos) return;
    std::string_view rest = text.substr(mark + 1);
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('&'), rest.size());
      const std::string_view pair = rest.substr(0, end);
      const size_t equals = std::min(pair.find('='), pair.size());
      query[percent_decoded(pair.substr(0, equals))] =
          equals < pair.size() ? percent_decoded(pair.substr(equals + 1)) : "";
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  std::string text(const std::string& name, const std::string& otherwise = "") const {
    const auto found = query.find(name);
    return found == query.end() ? otherwise : found->second;
  }
  int64_t number(const std::string& name, int64_t otherwise, int64_t low, int64_t high) const {
    const std::string value = text(name);
    if (value.empty()) return otherwise;
    char* end = nullptr;
    const long long parsed = std::strtoll(value.c_str(), &end, 10);
    if (*end != '\0' || parsed < low || parsed > high) {
      fail_usage(name + "=" + value + " is no number between " + std::to_string(low) + " and " +
                 std::to_string(high));
    }
    return parsed;
  }
};

std::string random_token() {
  std::random_device device;
  std::string out;
  char digits[9];
  for (int i = 0; i < 4; ++i) {
    std::snprintf(digits, sizeof digits, "%08x", device());
    out += digits;
  }
  return out;
}

// In constant time, so that a token cannot be guessed character by character.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::string cookie(const Request& request, std::string_view name) {
  std::string_view rest = request[http::field::cookie];
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(';'), rest.size());
    std::string_view pair = rest.substr(0, end);
    while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
    if (pair.substr(0, name.size()) == name && pair.substr(name.size(), 1) == "=") {
      return std::string(pair.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

GroupSource source_named(const std::string& name) {
  for (uint32_t i = 0; i < 4; ++i) {
    if (name == to_string(static_cast<GroupSource>(i))) return static_cast<GroupSource>(i);
  }
  fail_usage("source=" + name + " is none of train, probe, eval, discarded");
}

}  // namespace

struct InspectServer::Impl {
  RunView& view;
  RunView* compare;
  ServerOptions options;
  net::io_context context{1};
  tcp::acceptor acceptor{context};
  bool loopback = true;
  std::string token;
  std::set<std::string> hosts;

  std::mutex mutex;
  std::condition_variable changed;
  uint64_t version = 0;
  bool stopping = false;
  // By number, not by handle: a closed one's handle may already be a newer one's.
  std::map<uint64_t, tcp::socket::native_handle_type> connections;
  uint64_t next_connection = 0;

  Impl(RunView& run, RunView* other, const ServerOptions& with)
      : view(run), compare(other), options(with) {
    beast::error_code error;
    const auto address = net::ip::make_address(options.address, error);
    if (error) {
      fail_usage("\"" + options.address + "\" is no IP address",
                 "use 127.0.0.1, ::1, or 0.0.0.0 for every interface");
    }
    loopback = address.is_loopback();
    if (!loopback) token = random_token();
    const tcp::endpoint endpoint(address, options.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
    if (error) {
      fail("cannot listen on " + options.address + " port " + std::to_string(options.port) + ": " +
               error.message(),
           error == net::error::address_in_use
               ? "another program uses that port: give another --port, or 0 for any free one"
               : "give another --address or --port");
    }
    const std::string at = ":" + std::to_string(acceptor.local_endpoint().port());
    for (const std::string name : {"127.0.0.1", "localhost", "[::1]"}) hosts.insert(name + at);
    hosts.insert((address.is_v6() ? "[" + options.address + "]" : options.address) + at);
  }

  uint16_t port() const { return acceptor.local_endpoint().port(); }

  // Why a request is refused before it is looked at; empty when it is fine.
  std::string refusal(const Request& request) const {
    const std::string host(request[http::field::host]);
    // On all interfaces any name may lead here; the token then keeps strangers out.
    if (loopback && hosts.count(host) == 0)
      return "the Host header \"" + host + "\" does not name this server";
    const auto origin = request.find(http::field::origin);
    if (origin != request.end() && origin->value() != "http://" + host) {
      return "the request comes from another site";
    }
    const auto site = request.find("Sec-Fetch-Site");
    if (site != request.end() && site->value() != "same-origin" && site->value() != "none" &&
        request["Sec-Fetch-Mode"] != "navigate") {
      return "the request comes from another site";
    }
    return "";
  }

  bool knows_token(const Request& request, const Target& target) const {
    return token.empty() || same_secret(target.text("token"), token) ||
           same_secret(cookie(request, "zeroth_token"), token);
  }

  static Response plain(http::status status, std::string_view type, std::string body) {
    Response response{status, 11};
    response.set(http::field::content_type, type);
    response.set(http::field::cache_control, "no-store");
    response.set("Content-Security-Policy", kPolicy);
    response.set("X-Content-Type-Options", "nosniff");
    response.set("X-Frame-Options", "DENY");
    response.set("Referrer-Policy", "no-referrer");
    response.set("Cross-Origin-Resource-Policy", "same-origin");
    response.body() = std::move(body);
    return response;
  }

  static Response json(const Json& json, http::status status = http::status::ok) {
    return plain(status, "application/json",
                 json.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  Json api(const std::string& name, const Target& target) {
    RunView& run = target.text("run") == "2" && compare != nullptr ? *compare : view;
    if (name == "info") {
      Json info = run.info();
      if (compare != nullptr) info["compare"] = compare->info()["run"];
      return info;
    }
    if (name == "timeline") return run.timeline();
    if (name == "steps") return run.steps();
    if (name == "step") {
      return run.step(target.number("step", 0, 0, UINT32_MAX),
                      source_named(target.text("source", "train")));
    }
    if (name == "trace") return run.trace(SampleAddress::parse(target.text("at")));
    if (name == "search") {
      SearchRequest request;
      request.query = target.text("q");
      request.order = target.text("order", "step");
      request.limit = static_cast<int>(target.number("limit", 50, 1, 1000));
      request.offset = target.number("offset", 0, 0, INT64_MAX / 2);
      return run.search(request);
    }
    if (name == "problem") return run.problem(target.text("task"), target.text("id"));
    if (name == "probes") return run.probes();
    if (name == "ahas")
      return run.first_ahas(static_cast<int>(target.number("limit", 100, 1, 1000)));
    if (name == "experts") return run.experts();
    fail_usage("there is no /api/" + name);
  }

  Response answer(const Target& target) {
    if (target.path == "/") {
      Response response = plain(http::status::ok, "text/html; charset=utf-8", served_page());
      if (!token.empty()) {
        response.set(http::field::set_cookie,
                     "zeroth_token=" + token + "; HttpOnly; SameSite=Strict; Path=/");
      }
      return response;
    }
    if (target.path == "/style.css")
      return plain(http::status::ok, "text/css; charset=utf-8", page_style());
    if (target.path == "/app.js")
      return plain(http::status::ok, "text/javascript; charset=utf-8", page_script());
    if (target.path == "/metrics")
      return plain(http::status::ok, "text/plain; version=0.0.4", view.prometheus());
    if (target.path == "/api/export") {
      Response response = plain(http::status::ok, "text/html; charset=utf-8",
                                exported_page(view, options.export_traces));
      response.set(http::field::content_disposition, "attachment; filename=\"run.html\"");
      return response;
    }
    if (target.path.rfind("/api/", 0) == 0) return json(api(target.path.substr(5), target));
    return json({{"error", "there is no page " + target.path}}, http::status::not_found);
  }

  Response respond(const Request& request, const Target& target) {
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      Response response =
          json({{"error", "only GET is understood"}}, http::status::method_not_allowed);
      response.set(http::field::allow, "GET, HEAD");
      return response;
    }
    if (const std::string why = refusal(request); !why.empty()) {
      return json({{"error", why}}, http::status::forbidden);
    }
    if (!knows_token(request, target)) {
      return json({{"error", "open the address that zeroth inspect printed, with its token"}},
                  http::status::unauthorized);
    }
    try {
      return answer(target);
    } catch (const Error& error) {
      return json({{"error", error.what()}}, error.code() == ExitCode::kUsage
                                                 ? http::status::not_found
                                                 : http::status::internal_server_error);
    } catch (const std::exception& error) {
      return json({{"error", std::string("internal error: ") + error.what()}},
                  http::status::internal_server_error);
    }
  }

  // Server-sent events: one message whenever the run's files changed, a comment now and then to
  // notice a closed page.
  void send_events(beast::tcp_stream& stream, net::io_context& own) {
    const auto send = [&](const std::string& text) {
      beast::error_code result = net::error::operation_aborted;
      stream.expires_after(kIdle);
      net::async_write(stream, net::buffer(text),
                       [&](beast::error_code error, size_t) { result = error; });
      own.restart();
      own.run();
      return !result;
    };
    if (!send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nretry: 2000\n\n")) {
      return;
    }
    uint64_t seen = 0;
    {
      std::lock_guard lock(mutex);
      seen = version;
    }
    for (;;) {
      std::unique_lock lock(mutex);
      const bool news = changed.wait_for(lock, std::chrono::seconds(10),
                                         [&] { return stopping || version != seen; });
      if (stopping) return;
      seen = version;
      lock.unlock();
      if (!send(news ? "data: " + std::to_string(seen) + "\n\n" : ": still here\n\n")) return;
    }
  }

  void serve(tcp::socket socket, net::io_context& own) {
    beast::tcp_stream stream(std::move(socket));
    beast::flat_buffer buffer;
    for (;;) {
      http::request_parser<http::empty_body> parser;
      parser.header_limit(kMaxHeaderBytes);
      parser.body_limit(0);
      beast::error_code result = net::error::operation_aborted;
      stream.expires_after(kIdle);
      http::async_read(stream, buffer, parser,
                       [&](beast::error_code error, size_t) { result = error; });
      own.restart();
      own.run();
      if (result) return;
      const Request request = parser.release();
      const Target target(std::string_view(request.target().data(), request.target().size()));
      if (target.path == "/api/events" && request.method() == http::verb::get &&
          refusal(request).empty() && knows_token(request, target)) {
        send_events(stream, own);
        return;
      }
      Response response = respond(request, target);
      response.keep_alive(request.keep_alive());
      response.prepare_payload();
      if (request.method() == http::verb::head) response.body().clear();
      result = net::error::operation_aborted;
      stream.expires_after(kIdle);
      http::response_serializer<http::string_body> serializer(response);
      serializer.split(request.method() == http::verb::head);
      const auto written = [&](beast::error_code error, size_t) { result = error; };
      if (request.method() == http::verb::head) {
        http::async_write_header(stream, serializer, written);
      } else {
        http::async_write(stream, serializer, written);
      }
      own.restart();
      own.run();
      if (result || !response.keep_alive()) return;
    }
  }

  void start_connection(uint64_t number, tcp::socket::native_handle_type handle, tcp protocol) {
    std::thread([this, number, handle, protocol] {
      net::io_context own{1};
      try {
        tcp::socket socket(own);
        socket.assign(protocol, handle);
        serve(std::move(socket), own);
      } catch (const std::exception&) {  // one connection's trouble is not the server's
      }
      std::lock_guard lock(mutex);
      connections.erase(number);
      changed.notify_all();
    }).detach();
  }

  void watch(const std::atomic<bool>& stop) {
    while (!stop) {
      try {
        bool news = false;
        const auto batch = [&](int64_t, int64_t) {
          bump();
          return !stop.load();
        };
        news = view.update(batch);
        if (compare != nullptr) news = compare->update(batch) || news;
        if (news) bump();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "zeroth inspect: %s\n", error.what());
      }
      std::unique_lock lock(mutex);
      changed.wait_for(lock, std::chrono::duration<double>(options.poll_s),
                       [&] { return stopping; });
    }
  }

  void bump() {
    std::lock_guard lock(mutex);
    ++version;
    changed.notify_all();
  }

  void run(const std::atomic<bool>& stop) {
    std::thread watcher([&] { watch(stop); });
    std::function<void()> accept = [&] {
      acceptor.async_accept([&](beast::error_code error, tcp::socket socket) {
        if (!error) {
          std::unique_lock lock(mutex);
          if (connections.size() < kMaxConnections) {
            const tcp protocol = socket.local_endpoint(error).protocol();
            const auto handle = socket.release();
            const uint64_t number = next_connection++;
            connections.emplace(number, handle);
            lock.unlock();
            start_connection(number, handle, protocol);
          }
        }
        if (acceptor.is_open()) accept();
      });
    };
    accept();
    while (!stop) context.run_for(std::chrono::milliseconds(100));
    acceptor.close();
    {
      std::lock_guard lock(mutex);
      stopping = true;
      changed.notify_all();
    }
    watcher.join();
    // Connection threads use this object; idle ones are woken by the end of their socket.
    std::unique_lock lock(mutex);
    for (const auto& [number, handle] : connections) ::shutdown(handle, SHUT_RDWR);
    changed.wait(lock, [&] { return connections.empty(); });
  }
};

InspectServer::InspectServer(RunView& view, RunView* compare, const ServerOptions& options)
    : impl_(std::make_unique<Impl>(view, compare, options)) {}

InspectServer::~InspectServer() = default;

uint16_t InspectServer::port() const { return impl_->port(); }

std::string InspectServer::url() const {
  const bool six = impl_->options.address.find(':') != std::string::npos;
  const std::string address = six ? "[" + impl_->options.address + "]" : impl_->options.address;
  const std::string base = "http://" + address + ":" + std::to_string(port()) + "/";
  return impl_->token.empty() ? base : base + "?token=" + impl_->token;
}

void InspectServer::run(const std::atomic<bool>& stop) { impl_->run(stop); }

}  // namespace zeroth
