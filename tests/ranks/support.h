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
        const auto team = Team::join(launch, own.facts, {own.timeout_s, 4, own.engine});
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

}  // namespace zeroth
