// Messages over one connection between two ranks: MessagePack behind its length. What comes is
// bounded and may be anything.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/json.h"

namespace zeroth::ranks {

using Clock = std::chrono::steady_clock;

// Owns the socket. One thread at a time.
class Wire {
 public:
  explicit Wire(int fd = -1);
  ~Wire();
  Wire(Wire&& other) noexcept;
  Wire& operator=(Wire&& other) noexcept;

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  // False when the other side is gone or does not take it within a few seconds.
  bool send(const Json& message);
  // Takes what has arrived. False when the other side has ended the connection.
  bool receive();
  // The next whole message. Throws Error for bytes that are none, and for more than 1 MiB.
  std::optional<Json> next();
  // Waits for one; empty at the deadline or at the end of the connection.
  std::optional<Json> wait(Clock::time_point deadline);
  void close();

 private:
  int fd_;
  std::string bytes_;
  size_t taken_ = 0;  // of bytes_, by next()
};

// A listening socket at an address of this machine. Throws Error that names it when it is in use.
// A name that leads to this machine's loopback alone, as Debian's /etc/hosts has it, listens on
// every interface, because the other machines know it by another address.
int listen_at(const std::string& host, uint16_t port, int backlog);
// A connection, or -1 when nobody listens there (yet); `why` says so.
int connect_to(const std::string& host, uint16_t port, std::string& why);
// The address of this end of a connection, as digits.
std::string local_address(int fd);
// A connection that waits at the listening socket, or -1.
int accept_at(int listener);

}  // namespace zeroth::ranks
