// Bytes from the network as HTTP: what a server reads of a client (odd first byte), what a client
// reads of a server (even), and the addresses that users write. Over sockets of this machine, so
// that the sessions run as they do for strangers.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "net/digest.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace {

using namespace zeroth;

constexpr uint64_t kMostBody = 1000;

HttpServer& server() {
  static HttpServer* const made = [] {
    HttpServerOptions options;
    options.header_s = options.idle_s = options.body_s = options.write_s = 2;
    auto* one = new HttpServer(options);
    one->start(
        [](const HttpRequest& request, uint64_t& limit) -> std::optional<HttpReply> {
          limit = kMostBody;
          if (request.bearer() == "no") return HttpReply{.status = 401, .text = "{}"};
          return std::nullopt;
        },
        [](HttpExchangePtr exchange) {
          const HttpRequest& request = exchange->request();
          if (request.body.size() > kMostBody) __builtin_trap();
          digest_fits(request.header(kDigestHeader), request.body);
          if (request.argument("stream") == "1") {
            exchange->begin(200, "text/plain");
            exchange->write(request.path);
            exchange->end();
          } else {
            exchange->reply({.text = request.path + request.body});
          }
        });
    return one;
  }();
  return *made;
}

sockaddr_in here(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void to_server(const std::string& bytes) {
  const sockaddr_in address = here(server().port());
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // Closed by a reset, so that no port waits out its time.
  const linger none{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    for (size_t done = 0; done < bytes.size();) {
      const auto n = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    ::shutdown(fd, SHUT_WR);
    char buffer[4096];
    while (::recv(fd, buffer, sizeof buffer, 0) > 0) continue;
  }
  ::close(fd);
}

// A server that answers whatever is asked with the same bytes; `placed`: the body goes to memory of
// the caller's.
void to_client(const std::string& bytes, bool placed) {
  static const int listener = [] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in any = here(0);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
        ::listen(fd, 16) != 0)
      __builtin_trap();
    return fd;
  }();
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size);
  std::thread answering([&] {
    const int fd = ::accept(listener, nullptr, nullptr);
    char buffer[4096];
    ::recv(fd, buffer, sizeof buffer, 0);
    ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    const linger none{1, 0};
    ::shutdown(fd, SHUT_WR);
    while (::recv(fd, buffer, sizeof buffer, 0) > 0) continue;
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    ::close(fd);
  });
  try {
    HttpClient client(parse_http_url("http://127.0.0.1:" + std::to_string(ntohs(bound.sin_port))),
                      kMostBody);
    std::vector<char> place(kMostBody / 2);  // on the heap, where its ends are watched
    size_t received = 0;
    HttpCall call{.method = "GET", .target = "/"};
    if (placed) call.into = place;
    call.received = &received;
    const HttpAnswer answer = client.send(call, 2, 2);
    if (answer.body.size() > kMostBody || received > place.size()) __builtin_trap();
  } catch (const HttpFault&) {
  }
  answering.join();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const auto parse : {+[](const std::string& text) { parse_web_url(text); },
                           +[](const std::string& text) { parse_listen(text, "fuzz"); }}) {
    try {
      parse(bytes.substr(0, 300));
    } catch (const Error&) {
    }
  }
  data[0] % 2 == 1 ? to_server(bytes) : to_client(bytes, data[0] % 4 == 2);
  return 0;
}
