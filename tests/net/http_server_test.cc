#include "net/http_server.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <span>
#include <thread>

#include "core/error.h"
#include "net/http_client.h"

namespace zeroth {
namespace {

// Answers by path: /echo the body, /later from another thread, /stream in pieces, /held never.
class Server {
 public:
  explicit Server(HttpServerOptions options = {}) : server(options) {
    server.start(
        [this](const HttpRequest& request, uint64_t& limit) -> std::optional<HttpReply> {
          limit = 1 << 16;
          if (request.bearer() == "wrong")
            return HttpReply{.status = 401, .text = "{\"error\":\"token\"}"};
          return std::nullopt;
        },
        [this](HttpExchangePtr exchange) { handle(std::move(exchange)); });
  }
  ~Server() {
    server.stop();
    for (std::thread& thread : threads) thread.join();
  }

  void handle(HttpExchangePtr exchange) {
    const std::string& path = exchange->request().path;
    if (path == "/echo") {
      exchange->reply({.text = exchange->request().body});
    } else if (path == "/later") {
      threads.emplace_back([exchange] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        exchange->reply({.status = 202, .text = "later"});
      });
    } else if (path == "/stream") {
      exchange->begin(200, "text/event-stream");
      for (int i = 0; i < 3; ++i) exchange->write("data: " + std::to_string(i) + "\n\n");
      exchange->end();
    } else if (path == "/flood") {
      exchange->begin(200, "text/plain");
      threads.emplace_back([this, exchange] {
        for (int i = 0; i < 10000; ++i) {
          if (!exchange->write(std::string(10000, 'x'))) break;
          ++flooded;
        }
      });
    } else if (path == "/blob") {
      static const auto blob = std::make_shared<const std::string>(5 << 20, 'b');
      exchange->reply({.owner = blob, .bytes = *blob});
    } else if (path == "/held") {
      std::lock_guard lock(mutex);
      held.push_back(std::move(exchange));
    } else {
      exchange->reply({.status = 404, .text = exchange->request().argument("q", path)});
    }
  }

  HttpClient client(uint64_t most = 1 << 24) {
    return {parse_http_url("http://127.0.0.1:" + std::to_string(server.port())), most};
  }
  template <class Condition>
  bool soon(const Condition& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
  }

  std::mutex mutex;
  std::vector<HttpExchangePtr> held;
  std::atomic<int> flooded{0};
  std::vector<std::thread> threads;
  HttpServer server;
};

// A connection that sends what it is told and then waits.
class Raw {
 public:
  explicit Raw(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval wait{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  }
  ~Raw() { ::close(fd_); }
  Raw(const Raw&) = delete;
  void send(const std::string& text) {
    CHECK(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // Everything until the server closes; empty also after ten seconds of silence.
  std::string rest() {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;) out.append(buffer, n);
    return out;
  }

 private:
  int fd_;
};

const HttpCall kEcho{.target = "/echo", .body = "hello"};

TEST_CASE("answers at once, later, in pieces, and from memory that is not copied") {
  Server server;
  HttpClient client = server.client();
  CHECK(client.send(kEcho, 5, 5).body == "hello");
  const HttpAnswer later = client.send({.target = "/later"}, 5, 5);
  CHECK(later.status == 202);
  CHECK(later.body == "later");
  const HttpAnswer stream = client.send({.method = "GET", .target = "/stream"}, 5, 5);
  CHECK(stream.body == "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  CHECK(stream.headers.at("content-type") == "text/event-stream");
  CHECK(client.send({.method = "GET", .target = "/blob"}, 5, 5).body == std::string(5 << 20, 'b'));
  CHECK(client.send({.method = "GET", .target = "/x%41?q=a%20b+c"}, 5, 5).body == "a b c");
  CHECK(client.send({.method = "GET", .target = "/a+%2b"}, 5, 5).body == "/a++");
  CHECK(server.server.stats().accepted == 1);  // one connection was kept
}

TEST_CASE("a body goes where the caller wants it when it fits, and is a body otherwise") {
  Server server;
  HttpClient client = server.client();
  std::vector<char> place(6 << 20, 'z');
  size_t received = 0;
  HttpCall call{.method = "GET", .target = "/blob"};
  call.into = place;
  call.received = &received;
  HttpAnswer answer = client.send(call, 5, 10);
  CHECK(answer.status == 200);
  CHECK(answer.body.empty());
  REQUIRE(received == 5 << 20);
  CHECK(std::all_of(place.begin(), place.begin() + (5 << 20), [](char c) { return c == 'b'; }));
  CHECK(place[5 << 20] == 'z');
  // The connection goes on with the next request.
  CHECK(client.send({.method = "POST", .target = "/echo", .body = "on"}, 5, 5).body == "on");
  call.into = std::span(place).first(100);  // too short
  received = 0;
  answer = client.send(call, 5, 10);
  CHECK(answer.body == std::string(5 << 20, 'b'));
  CHECK(received == 0);
  call.target = "/nothing";  // not what was asked for
  call.into = place;
  answer = client.send(call, 5, 5);
  CHECK(answer.status == 404);
  CHECK(answer.body == "/nothing");
  CHECK(received == 0);
  call.target = "/stream";  // of unknown length
  answer = client.send(call, 5, 5);
  CHECK(answer.body == "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  CHECK(received == 0);
}

TEST_CASE("a refusal comes before the body is read, and short bodies do not cost the connection") {
  Server server;
  HttpClient client = server.client();
  HttpCall call = kEcho;
  call.headers = {{"Authorization", "Bearer wrong"}};
  CHECK(client.send(call, 5, 5).status == 401);
  CHECK(client.send(kEcho, 5, 5).body == "hello");
  CHECK(server.server.stats().accepted == 1);
  call.body = std::string(8 << 20, 'x');
  // Of a long one the answer may be lost, the body never counts.
  try {
    CHECK(client.send(call, 5, 5).status == 401);
  } catch (const HttpFault& fault) {
    CHECK(fault.kind == HttpFaultKind::kClosed);
  }
  CHECK(server.server.stats().bytes_in == 5);
}

TEST_CASE("bodies over their limit are refused, with and without a length") {
  Server server;
  Raw length(server.server.port());
  length.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n");
  CHECK(length.rest().find("413") != std::string::npos);
  Raw chunked(server.server.port());
  chunked.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11000\r\n");
  chunked.send(std::string(0x11000, 'x') + "\r\n0\r\n\r\n");
  CHECK(chunked.rest().find("413") != std::string::npos);
  CHECK(server.server.stats().oversized == 2);
  HttpClient client = server.client();
  HttpCall call = kEcho;
  call.body = std::string(65536, 'x');
  CHECK(client.send(call, 5, 5).body == call.body);
}

TEST_CASE("half a request, silence and slow bodies end with the time that they have") {
  HttpServerOptions options;
  options.header_s = options.idle_s = options.body_s = 0.3;
  Server server(options);
  Raw silent(server.server.port()), half(server.server.port()), body(server.server.port());
  half.send("POST /echo HT");
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  CHECK(silent.rest() == "");
  CHECK(half.rest() == "");
  CHECK(body.rest() == "");
  CHECK(server.soon([&] { return server.server.stats().connections == 0; }));
  CHECK(server.server.stats().timed_out == 3);
}

TEST_CASE("what is no HTTP or has endless headers is closed") {
  HttpServerOptions options;
  Server server(options);
  Raw garbage(server.server.port());
  garbage.send(std::string(1000, '\x00') + "\r\n\r\n");
  garbage.rest();
  Raw headers(server.server.port());
  headers.send("GET / HTTP/1.1\r\nX: " + std::string(20000, 'a'));
  CHECK(headers.rest().find("431") != std::string::npos);
  CHECK(server.server.stats().malformed == 2);
}

TEST_CASE("a reader that does not read is cut off, and the writer hears of it") {
  HttpServerOptions options;
  options.write_s = 0.3;
  Server server(options);
  Raw reader(server.server.port());
  reader.send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(server.soon([&] { return server.server.stats().connections == 0; }));
  CHECK(server.flooded < 10000);
}

TEST_CASE("a reader of one long answer that does not read on is cut off, and costs nobody else") {
  HttpServerOptions options;
  options.write_s = 0.3;
  Server server(options);
  Raw reader(server.server.port());
  reader.send("GET /blob HTTP/1.1\r\nHost: x\r\n\r\n");
  HttpClient other = server.client();
  while (server.server.stats().timed_out == 0) CHECK(other.send(kEcho, 5, 5).body == "hello");
  CHECK(server.soon([&] { return server.server.stats().connections == 1; }));
}

TEST_CASE("a client that goes away while it waits is noticed, also behind what it has sent more") {
  for (const std::string more : {"", "GET /next HTTP/1.1\r\n"}) {
    CAPTURE(more);
    Server server;
    auto waiting = std::make_unique<Raw>(server.server.port());
    waiting->send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + more);
    REQUIRE(server.soon([&] {
      std::lock_guard lock(server.mutex);
      return server.held.size() == 1;
    }));
    CHECK(server.held[0]->open());
    waiting = nullptr;
    CHECK(server.soon([&] { return !server.held[0]->open(); }));
    server.held[0]->reply({.text = "nobody hears it"});
  }
}

TEST_CASE("silent crowds make room; clients that were let in keep their place") {
  HttpServerOptions options;
  options.connections = 20;
  Server server(options);
  HttpClient client = server.client();
  CHECK(client.send(kEcho, 5, 5).body == "hello");
  std::vector<std::unique_ptr<Raw>> crowd;
  for (int i = 0; i < 100; ++i) crowd.push_back(std::make_unique<Raw>(server.server.port()));
  CHECK(client.send(kEcho, 5, 5).body == "hello");
  HttpClient second = server.client();
  CHECK(second.send(kEcho, 5, 5).body == "hello");
  CHECK(server.server.stats().crowded_out >= 80);
}

TEST_CASE("where all places are those of clients that were let in, others hear 503") {
  HttpServerOptions options;
  options.connections = 4;
  Server server(options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(new HttpClient(server.client()));
    CHECK(clients.back()->send(kEcho, 5, 5).body == "hello");
  }
  Raw late(server.server.port());
  late.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  const std::string answer = late.rest();
  CHECK(answer.find("HTTP/1.1 503 ") == 0);
  CHECK(answer.find("Retry-After: 1\r\n") != std::string::npos);
  CHECK(server.server.stats().crowded_out == 1);
  for (const auto& client : clients) CHECK(client->send(kEcho, 5, 5).body == "hello");
  clients.pop_back();  // a place is free
  CHECK(server.soon([&] { return server.server.stats().connections == 3; }));
  HttpClient next = server.client();
  CHECK(next.send(kEcho, 5, 5).body == "hello");
}

TEST_CASE("a server ends although clients wait") {
  auto server = std::make_unique<Server>();
  Raw waiting(server->server.port()), silent(server->server.port());
  waiting.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(server->soon([&] {
    std::lock_guard lock(server->mutex);
    return server->held.size() == 1;
  }));
  const HttpExchangePtr held = server->held[0];
  server = nullptr;
  CHECK_FALSE(held->open());
  held->reply({});
}

TEST_CASE("where to listen") {
  CHECK(parse_listen("0.0.0.0:8800", "f") == std::pair<std::string, uint16_t>("0.0.0.0", 8800));
  CHECK(parse_listen("[::1]:1", "f") == std::pair<std::string, uint16_t>("::1", 1));
  CHECK(parse_listen("0", "f") == std::pair<std::string, uint16_t>("127.0.0.1", 0));
  for (const char* bad : {"", ":", "x:", "1.2.3.4:70000", "1.2.3.4:-1", ":80", "a:b"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(parse_listen(bad, "fleet.listen"), doctest::Contains("fleet.listen"),
                         Error);
  }
}

}  // namespace
}  // namespace zeroth
