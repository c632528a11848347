#include "ranks/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "core/error.h"
#include "core/message_pack.h"
#include "core/system.h"

namespace zeroth::ranks {
namespace {

constexpr size_t kMostBytes = size_t{1} << 20;
constexpr int kSendMillis = 5000, kConnectMillis = 2000;

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const std::string& host, uint16_t port, bool passive, std::string& why) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                  std::to_string(port).c_str(), &hints, &found);
  if (error != 0) why = "\"" + host + "\" is no address: " + ::gai_strerror(error);
  return {error == 0 ? found : nullptr, &::freeaddrinfo};
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
  }
  const auto* in = reinterpret_cast<const sockaddr_in6*>(address);
  return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
}

bool is_literal(const std::string& host) {
  in6_addr any{};
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

void prepare(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool wait_for(int fd, short events, int millis) {
  pollfd one{fd, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&one, 1, millis);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace

Wire::Wire(int fd) : fd_(fd) {
  if (fd_ >= 0) prepare(fd_);
}
Wire::~Wire() { close(); }
Wire::Wire(Wire&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      bytes_(std::move(other.bytes_)),
      taken_(std::exchange(other.taken_, 0)) {}
Wire& Wire::operator=(Wire&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::exchange(other.fd_, -1);
  bytes_ = std::move(other.bytes_);
  taken_ = std::exchange(other.taken_, 0);
  return *this;
}

void Wire::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Wire::send(const Json& message) {
  if (fd_ < 0) return false;
  const std::string body = pack_message(message);
  const uint32_t length = htonl(static_cast<uint32_t>(body.size()));
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += body;
  const auto deadline = Clock::now() + std::chrono::milliseconds(kSendMillis);
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = system::send_quietly(fd_, bytes.data() + sent, bytes.size() - sent);
    if (n > 0) sent += static_cast<size_t>(n);
    if (n >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    if (Clock::now() > deadline) return false;
    wait_for(fd_, POLLOUT, 100);
  }
  return true;
}

bool Wire::receive() {
  bytes_.erase(0, std::exchange(taken_, 0));
  char piece[16384];
  for (;;) {
    const ssize_t n = ::recv(fd_, piece, sizeof piece, 0);
    if (n > 0) bytes_.append(piece, static_cast<size_t>(n));
    if (n == 0) return false;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (bytes_.size() > 2 * kMostBytes) return true;  // next() takes or refuses it
  }
}

std::optional<Json> Wire::next() {
  uint32_t length = 0;
  const std::string_view left = std::string_view(bytes_).substr(taken_);
  if (left.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, left.data(), sizeof length);
  const size_t size = ntohl(length);
  if (size > kMostBytes) {
    fail("a message of " + std::to_string(size) + " bytes: what answers is no rank of Zeroth");
  }
  if (left.size() < sizeof length + size) return std::nullopt;
  Json message = parse_message(left.substr(sizeof length, size), "a rank's message");
  taken_ += sizeof length + size;
  return message;
}

std::optional<Json> Wire::wait(Clock::time_point deadline) {
  for (;;) {
    if (auto message = next()) return message;
    if (Clock::now() >= deadline) return std::nullopt;
    if (wait_for(fd_, POLLIN, 50) && !receive()) return next();
  }
}

int listen_at(const std::string& host, uint16_t port, int backlog) {
  std::string why;
  Addresses found = resolve(host, port, false, why);
  if (found && is_loopback(found->ai_addr) && !is_literal(host) && host != "localhost")
    found = resolve("", port, true, why);
  int fd = -1;
  if (found) {
    fd = system::stream_socket(found->ai_family, true);
    const int on = 1;
    if (fd >= 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || ::bind(fd, found->ai_addr, found->ai_addrlen) != 0 ||
        ::listen(fd, backlog) != 0) {
      why = std::strerror(errno);
      if (fd >= 0) ::close(fd);
      fd = -1;
    }
  }
  if (fd < 0) {
    fail("rank 0 cannot listen on " + host + ":" + std::to_string(port) + ": " + why,
         "MASTER_ADDR is to be an address of rank 0's machine and MASTER_PORT a port that nothing "
         "else uses; two processes with RANK 0 also end here");
  }
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

int connect_to(const std::string& host, uint16_t port, std::string& why) {
  const Addresses found = resolve(host, port, false, why);
  for (const addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
    const int fd = system::stream_socket(one->ai_family, false);
    if (fd < 0) continue;
    int error = ::connect(fd, one->ai_addr, one->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      error = ETIMEDOUT;
      socklen_t size = sizeof error;
      if (wait_for(fd, POLLOUT, kConnectMillis))
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return fd;
    why = std::strerror(error);
    ::close(fd);
  }
  return -1;
}

std::string local_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[NI_MAXHOST] = "127.0.0.1";
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(fd, generic, &size) == 0)
    ::getnameinfo(generic, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

int accept_at(int listener) { return system::accept_stream(listener); }

}  // namespace zeroth::ranks
