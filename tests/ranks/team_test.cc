// Members as threads of this process, over 127.0.0.1.
#include "ranks/team.h"

#include <doctest/doctest.h>

#include <thread>

#include "core/error.h"
#include "ranks/wire.h"
#include "tests/ranks/support.h"

using namespace zeroth;

namespace {

void expect(const std::vector<std::string>& errors, const std::string& part) {
  for (const std::string& error : errors) {
    CAPTURE(error);
    CHECK(error.find(part) != std::string::npos);
  }
}

TEST_CASE("a value reaches the rank that it is for, or all of them") {
  constexpr int kRanks = 4;
  const uint16_t port = free_port();
  std::vector<std::string> errors(kRanks);
  std::vector<std::thread> threads;
  for (int r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      try {
        const Launch launch{"torchrun", r, kRanks, kRanks, "127.0.0.1", port, ""};
        Rendezvous rendezvous(launch, {}, {});
        for (int to = 0; to < kRanks; ++to)
          rendezvous.set("from " + std::to_string(r), std::to_string(10 * r + to), to);
        rendezvous.set("of all " + std::to_string(r), std::to_string(r));
        for (int from = 0; from < kRanks; ++from) {
          CHECK(rendezvous.get("from " + std::to_string(from)) == std::to_string(10 * from + r));
          CHECK(rendezvous.get("of all " + std::to_string(from)) == std::to_string(from));
        }
        rendezvous.set("done " + std::to_string(r), "");
        for (int from = 0; from < kRanks; ++from) rendezvous.get("done " + std::to_string(from));
      } catch (const Error& error) {
        errors[r] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) CHECK(error == "");
}

#ifdef ZEROTH_GLOO
TEST_CASE("members gather what each gave, of any length, and rank 0's word goes to all") {
  for (const int size : {2, 3, 5}) {
    std::vector<Member> members;
    for (int r = 0; r < size; ++r) members.push_back({r, size});
    std::vector<std::vector<std::string>> got(size);
    const auto errors = run_members(members, free_port(), [&](Team& team) {
      const std::string mine(team.rank() * 100000, static_cast<char>('a' + team.rank()));
      for (int i = 0; i < 3; ++i) got[team.rank()] = team.gather("text", mine);
      CHECK(team.from_first("word", "I am " + std::to_string(team.rank())) == "I am 0");
      // What is meant for one member reaches that member.
      std::vector<float> values(1000, static_cast<float>(team.rank())), other(1000);
      const int next = (team.rank() + 1) % size, before = (team.rank() + size - 1) % size;
      const Outgoing out{next, std::as_bytes(std::span(values))};
      const Incoming in{before, std::as_writable_bytes(std::span(other))};
      team.exchange(std::span(&out, 1), std::span(&in, 1));
      CHECK(other[999] == static_cast<float>(before));
    });
    for (const std::string& error : errors) CHECK(error == "");
    for (int r = 0; r < size; ++r) {
      REQUIRE(got[r].size() == static_cast<size_t>(size));
      for (int q = 0; q < size; ++q)
        CHECK(got[r][q] == std::string(q * 100000, static_cast<char>('a' + q)));
    }
  }
}

TEST_CASE("messages that are under way beside other calls arrive whole") {
  for (const bool direct : {false, true}) {
    for (const int size : {2, 4}) {
      std::vector<Member> members;
      for (int r = 0; r < size; ++r) members.push_back({.rank = r, .size = size, .direct = direct});
      const auto errors =
          run_members(members, free_port(), [](Team& team) { pass_messages(team, 12); });
      for (const std::string& error : errors) CHECK(error == "");
    }
  }
}

TEST_CASE("a member that one waits for may fail or give up what is under way") {
  for (const bool direct : {false, true}) {
    for (const bool begun : {false, true}) {
      const std::vector<Member> members = {{.rank = 0, .size = 2, .direct = direct},
                                           {.rank = 1, .size = 2, .direct = direct}};
      const auto errors = run_members(members, free_port(), [&](Team& team) {
        std::vector<float> mine(1 << 20, 1.0f), theirs(1 << 20);
        const Outgoing out{1 - team.rank(), std::as_bytes(std::span(mine))};
        const Incoming in{1 - team.rank(), std::as_writable_bytes(std::span(theirs))};
        const Team::Ticket coming = team.begin_exchange({}, std::span(&in, 1));
        if (team.rank() == 1) {
          if (begun) team.begin_exchange(std::span(&out, 1), {});
          team.cancel_exchanges();
          team.fail("the disk is full");
          fail("the disk is full");
        }
        // What was begun may have arrived before.
        team.finish_exchange(coming);
        team.gather("turn", "");
      });
      expect(errors, "the disk is full");
    }
  }
}

TEST_CASE("a stop that one member is asked for is heard by all at the same call") {
  std::atomic<bool> stop{false}, never{false};
  std::vector<int> heard(3, -1);
  const auto errors = run_members({{0, 3}, {1, 3}, {2, 3}}, free_port(), [&](Team& team) {
    const std::atomic<bool>* agreed = team.follow(team.rank() == 1 ? &stop : &never);
    for (int i = 0; i < 20; ++i) {
      if (team.rank() == 1 && i == 7) stop = true;
      team.gather("turn", "");
      if (agreed->load() && heard[team.rank()] < 0) heard[team.rank()] = i;
    }
  });
  for (const std::string& error : errors) CHECK(error == "");
  CHECK(heard == std::vector<int>{7, 7, 7});
}

TEST_CASE("members that are at different calls are told so") {
  const auto errors = run_members({{0, 2}, {1, 2}}, free_port(), [&](Team& team) {
    team.gather(team.rank() == 0 ? "one" : "other", "");
  });
  expect(errors, "is not at");
}

TEST_CASE("a member that fails ends the others with its words") {
  const auto errors = run_members({{0, 3}, {1, 3}, {2, 3}}, free_port(), [&](Team& team) {
    if (team.rank() == 2) {
      team.fail("the disk is full");
      fail("the disk is full");
    }
    for (int i = 0; i < 1000; ++i) team.gather("turn", "");
  });
  expect(errors, "the disk is full");
  CHECK(errors[0].find("rank 2 of 3") != std::string::npos);
  CHECK(errors[1].find("rank 2 of 3") != std::string::npos);
}
#endif

TEST_CASE("ranks that are not of one job are refused, every one with the same reason") {
  SUBCASE("another config") {
    const auto errors =
        run_members({{0, 3}, {1, 3, {{"the config", "abd"}}}, {2, 3}}, free_port(), nullptr);
    expect(errors, "rank 1 of 3");
    expect(errors, "has abd as the config, rank 0 has abc");
  }
  SUBCASE("another number of ranks") {
    const auto errors = run_members({{0, 3}, {1, 3}, {2, 4}}, free_port(), nullptr);
    expect(errors, "was told of 4 ranks, rank 0 of 3");
  }
  SUBCASE("two processes with one number") {
    const auto errors = run_members({{0, 3}, {1, 3}, {1, 3}}, free_port(), nullptr);
    expect(errors, "two processes say that they are rank 1");
  }
  SUBCASE("two processes with number 0") {
    const auto errors = run_members({{0, 3}, {0, 3}, {1, 3}}, free_port(), nullptr);
    expect(errors, "a second process");
    expect(errors, "says that it is rank 0 of 3");
  }
  SUBCASE("a rank that never comes") {
    const auto errors =
        run_members({{0, 4, {}, 1}, {1, 4, {}, 1}, {3, 4, {}, 1}}, free_port(), nullptr);
    expect(errors, "rank 2 of 4 did not come");
  }
  SUBCASE("no rank 0") {
    const auto errors = run_members({{1, 2, {}, 0.5}}, free_port(), nullptr);
    expect(errors, "found no rank 0 at 127.0.0.1:");
  }
}

#ifdef ZEROTH_GLOO
TEST_CASE("ranks of another job at the same address are sent away, and this job goes on") {
  const auto member = [](int rank, int size, const char* job) {
    return Member{rank, size, {}, 20, "gloo", job};
  };
  const uint16_t port = free_port();
  std::vector<std::string> first;
  std::thread rank0([&] { first = run_members({member(0, 2, "A")}, port, nullptr); });
  std::string why;
  while (!ranks::Wire(ranks::connect_to("127.0.0.1", port, why)).open())
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto strangers = run_members({member(0, 2, "B"), member(1, 2, "B")}, port, nullptr);
  expect(strangers, "is rank 0 of job \"A\", not of \"B\"");
  const auto second = run_members({member(1, 2, "A")}, port, nullptr);
  rank0.join();
  CHECK(first[0] == "");
  CHECK(second[0] == "");
}
#endif

TEST_CASE("a port that another program uses is named") {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(fd, 8) == 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread program([&] {                          // answers everybody as a web server would
    for (int visitor = 0; visitor < 2; ++visitor) {  // rank 0 asks too, once it cannot listen
      const int client = ::accept(fd, nullptr, nullptr);
      const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
      (void)!::write(client, answer, sizeof answer - 1);
      char rest[4096];
      while (::read(client, rest, sizeof rest) > 0) {
      }
      ::close(client);
    }
  });
  const uint16_t port = ntohs(address.sin_port);
  const auto errors = run_members({{0, 2, {}, 5}, {1, 2, {}, 5}}, port, nullptr);
  program.join();
  ::close(fd);
  CHECK(errors[0].find("cannot listen on 127.0.0.1:" + std::to_string(port)) != std::string::npos);
  CHECK(errors[1].find("is not rank 0 of this job") != std::string::npos);
}

TEST_CASE("a stranger at rank 0's door does no harm") {
  const uint16_t port = free_port();
  std::thread stranger([&] {
    for (int i = 0; i < 40; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(port);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        const char text[] = "\xff\xff\xff\xffGET / HTTP/1.1\r\n\r\n";
        (void)!::write(fd, text + (i % 2) * 4, sizeof text - 1 - (i % 2) * 4);
      }
      ::usleep(5000);
      ::close(fd);
    }
  });
  std::vector<std::string> errors(2);
  std::thread late([&] {
    ::usleep(150000);
    errors[1] = run_members({{1, 2}}, port, nullptr)[0];
  });
  errors[0] = run_members({{0, 2}}, port, nullptr)[0];
  late.join();
  stranger.join();
#ifdef ZEROTH_GLOO
  for (const std::string& error : errors) CHECK(error == "");
#endif
}

}  // namespace
