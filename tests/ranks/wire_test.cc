// What ranks read of each other: whole messages in order, and nothing else.
#include "ranks/wire.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "core/error.h"
#include "core/message_pack.h"
#include "ranks/rendezvous.h"

namespace zeroth::ranks {
namespace {

std::string framed(const std::string& body) {
  const uint32_t length = htonl(static_cast<uint32_t>(body.size()));
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + body;
}

// A wire, and the other end as a bare socket.
struct Ends {
  Ends() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    wire = Wire(fds[0]);
    other = fds[1];
  }
  ~Ends() { hang_up(); }
  void send(const std::string& bytes) {
    REQUIRE(::send(other, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  void hang_up() {
    if (other >= 0) ::close(std::exchange(other, -1));
  }
  Wire wire;
  int other = -1;
};

TEST_CASE("messages come one by one, whatever pieces their bytes come in") {
  Ends ends;
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes += framed(pack_message({{"i", i}}));
  int next = 0;
  for (size_t at = 0; at < bytes.size(); at += 7) {
    ends.send(bytes.substr(at, 7));
    CHECK(ends.wire.receive());
    if (at == 700) ends.wire = Wire(std::move(ends.wire));  // what is half read moves along
    while (const auto message = ends.wire.next()) CHECK(message->at("i") == next++);
  }
  CHECK(next == 300);
  ends.send(bytes);
  ends.hang_up();
  CHECK_FALSE(ends.wire.receive());
  for (int i = 0; i < 300; ++i) CHECK(ends.wire.next()->at("i") == i);
  CHECK_FALSE(ends.wire.next());
}

TEST_CASE("bytes that are no message, and more than a rank ever says, are refused") {
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff", 4), std::string("\x00\x10\x00\x01", 4),
        framed(std::string("\xc1", 1)), framed(""), framed(pack_message({{"a", 1}}) + "x")}) {
    Ends ends;
    ends.send(bytes);
    ends.wire.receive();
    CHECK_THROWS_AS(ends.wire.next(), Error);
  }
  Ends cut;
  cut.send(framed(pack_message({{"a", std::string(100, 'x')}})).substr(0, 50));
  cut.hang_up();
  CHECK_FALSE(cut.wire.wait(Clock::now() + std::chrono::seconds(5)));
}

// What rank 1 says when something answers its hello with these bytes.
std::string joined(const std::string& answer) {
  const int listener = listen_at("127.0.0.1", 0, 4);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread answering([&] {
    int fd = -1;
    while ((fd = accept_at(listener)) < 0) ::usleep(1000);
    Wire wire(fd);
    wire.wait(Clock::now() + std::chrono::seconds(5));
    (void)!::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    wire.wait(Clock::now() + std::chrono::seconds(5));  // until it hangs up
  });
  std::string error;
  try {
    const Launch launch{"torchrun", 1, 2, 2, "127.0.0.1", ntohs(address.sin_port), ""};
    Rendezvous rendezvous(launch, {{"the config", "abc"}}, {.timeout_s = 2, .silence_s = 1});
  } catch (const Error& caught) {
    error = caught.what();
  }
  answering.join();
  ::close(listener);
  return error;
}

TEST_CASE("whatever answers a rank's hello is rank 0 or an error that says who it is not") {
  const Json odd[] = {Json::array(),      3,
                      "welcome",          Json::object(),
                      {{"welcome", "2"}}, {{"welcome", 3}, {"process", "p"}},
                      {{"welcome", 2}},   {{"welcome", 2}, {"process", 7}},
                      {{"refused", 1}},   {{"refused", nullptr}}};
  for (const Json& answer : odd) {
    CAPTURE(answer.dump());
    CHECK(joined(framed(pack_message(answer))).find("is not rank 0 of this job") !=
          std::string::npos);
  }
  CHECK(joined(framed(pack_message({{"welcome", 2}, {"process", "p"}}))) == "");
  // What another process has shown cannot steer a terminal.
  const std::string refusal =
      joined(framed(pack_message({{"refused", "two\nlines \x1b[2J and \xff"}})));
  CHECK(refusal.find("rank 0 refused: two\nlines ") == 0);
  CHECK(refusal.find('\x1b') == std::string::npos);
  CHECK(refusal.find('\xff') == std::string::npos);
}

}  // namespace
}  // namespace zeroth::ranks
