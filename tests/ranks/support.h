// Members of a team as threads of this process, over 127.0.0.1.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "ranks/team.h"

namespace zeroth {

inline uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

struct Member {
  int rank, size;
  std::vector<RankFact> facts = {{"the config", "abc"}};
  double timeout_s = 60;
  std::string engine = "gloo";
  std::string job = "";
  bool direct = true;
};

// What became of each member: empty, or its error.
inline std::vector<std::string> run_members(const std::vector<Member>& members, uint16_t port,
                                            const std::function<void(Team&)>& work) {
  std::vector<std::string> errors(members.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < members.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        const Member& own = members[i];
        const Launch launch{"torchrun", own.rank, own.size, own.size, "127.0.0.1", port, own.job};
        const auto team = Team::join(launch, own.facts, {own.timeout_s, 4, own.engine, own.direct});
        if (work) work(*team);
        team->gather("end", "");
      } catch (const Error& error) {
        errors[i] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

// Messages of every member to every other one, of lengths from 1 to 40,000: received in one call each
// before anybody sends, sent in calls of a number of the sender's own, with other calls in between.
inline void pass_messages(Team& team, int messages) {
  const int size = team.size();
  const auto length = [](int from, int to, int i) {
    return size_t(1 + (i * 7919 + from + to) % 40000);
  };
  const auto value = [](int from, int to, int i) {
    return static_cast<char>(from + 3 * to + 7 * i);
  };
  std::vector<std::string> got(size * messages), mine(size * messages);
  std::vector<Team::Ticket> coming, going;
  for (int i = 0; i < messages; ++i) {
    std::vector<Incoming> in;
    for (int r = 0; r < size; ++r) {
      if (r == team.rank()) continue;
      std::string& to = got[i * size + r];
      to.resize(length(r, team.rank(), i));
      in.push_back({r, std::as_writable_bytes(std::span(to.data(), to.size()))});
    }
    coming.push_back(team.begin_exchange({}, in));
  }
  for (int i = 0; i < messages;) {
    team.gather("between", std::to_string(i));
    std::vector<Outgoing> out;
    for (int n = 0; n <= 2 * team.rank() && i < messages; ++n, ++i) {
      for (int r = 0; r < size; ++r) {
        if (r == team.rank()) continue;
        std::string& text = mine[i * size + r];
        text.assign(length(team.rank(), r, i), value(team.rank(), r, i));
        out.push_back({r, std::as_bytes(std::span(text.data(), text.size()))});
      }
    }
    going.push_back(team.begin_exchange(out, {}));
    if (team.rank() > 0 && i >= messages) {
      // The others call more often, and gather in step.
      for (int turn = static_cast<int>(going.size()); turn < messages; ++turn)
        team.gather("between", std::to_string(turn));
    }
  }
  for (size_t i = coming.size(); i-- > 0;) team.finish_exchange(coming[i]);
  for (const Team::Ticket ticket : going) team.finish_exchange(ticket);
  for (int i = 0; i < messages; ++i) {
    for (int r = 0; r < size; ++r) {
      if (r == team.rank()) continue;
      if (got[i * size + r] != std::string(length(r, team.rank(), i), value(r, team.rank(), i)))
        fail("message " + std::to_string(i) + " of rank " + std::to_string(r) + " is another");
    }
  }
}

}  // namespace zeroth
