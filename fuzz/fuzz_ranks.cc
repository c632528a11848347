// What ranks read of each other's connections: bytes as messages, as the answer to a rank's hello,
// and as the hello to rank 0. Whatever they are, they are taken or refused, in bounded time and
// memory, and what is shown of them is harmless.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/terminal.h"
#include "fuzz/cpu_limit.h"
#include "ranks/rendezvous.h"
#include "ranks/wire.h"

namespace {

using namespace zeroth;
using namespace zeroth::ranks;

constexpr char kHost[] = "127.0.0.1";

void send_all(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

// Closed by a reset, so that no port waits out its time.
void hang_up(int fd) {
  const linger none{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  ::close(fd);
}

void as_messages(const std::string& bytes) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) __builtin_trap();
  Wire wire(ends[0]);
  send_all(ends[1], bytes.substr(0, 100'000));  // what a socket holds
  ::close(ends[1]);
  try {
    while (wire.receive()) continue;
    size_t messages = 0;
    while (wire.next()) ++messages;
    if (messages > bytes.size() / 5) __builtin_trap();  // a length and a byte at least
  } catch (const Error&) {
  }
}

// The length in front of a message, so that the fuzzer need not find it.
std::string framed(const std::string& message) {
  const uint32_t length = htonl(static_cast<uint32_t>(message.size()));
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + message;
}

Launch launch(int rank, uint16_t port) {
  Launch out;
  out.rank = rank;
  out.size = 2;
  out.local_size = 2;
  out.host = kHost;
  out.port = port;
  return out;
}

void take_part(const Launch& as, double timeout_s) {
  RendezvousOptions options;
  options.timeout_s = timeout_s;
  options.silence_s = 0.1;
  try {
    Rendezvous rendezvous(as, {{"the config", "a"}, {"the seed", "1"}}, options);
    rendezvous.lost(0.01);
    try {
      rendezvous.set("mine", "value");
    } catch (const Error&) {
    }
  } catch (const Error& error) {
    if (printable(error.what()) != error.what()) __builtin_trap();
  }
}

// Rank 1 asks what listens there, and that answers with the bytes.
void as_answer(const std::string& bytes) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, 4) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    __builtin_trap();
  std::thread answering([&] {
    const int fd = ::accept(listener, nullptr, nullptr);
    char hello[4096];
    ::recv(fd, hello, sizeof hello, 0);
    send_all(fd, bytes);
    ::shutdown(fd, SHUT_WR);
    while (::recv(fd, hello, sizeof hello, 0) > 0) continue;
    hang_up(fd);
  });
  take_part(launch(1, ntohs(address.sin_port)), 1);
  answering.join();
  ::close(listener);
}

// Rank 0 waits, and somebody says the bytes.
void as_hello(const std::string& bytes) {
  const uint16_t port = static_cast<uint16_t>(20000 + ::getpid() % 10000);
  std::thread saying([&] {
    std::string why;
    int fd = -1;
    for (int i = 0; i < 50 && fd < 0; ++i) {
      fd = connect_to(kHost, port, why);
      if (fd < 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (fd < 0) return;
    send_all(fd, bytes);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    hang_up(fd);
  });
  take_part(launch(0, port), 0.02);
  saying.join();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const CpuLimit limit(5);
  as_messages(bytes);
  as_messages(framed(bytes));
  if (data[0] % 4 == 1) as_answer(framed(bytes));
  if (data[0] % 16 == 2) as_hello(framed(bytes));
  return 0;
}
