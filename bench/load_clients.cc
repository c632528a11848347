#include "bench/load_clients.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/error.h"
#include "core/stopwatch.h"
#include "kernels/ops.h"
#include "net/digest.h"

namespace zeroth::bench {
namespace {

using namespace fleet;

constexpr int kTokens = 32;
constexpr int64_t kCapacity = 8;
constexpr double kPatience = 60;

[[noreturn]] void fail_call(const std::string& what) {
  fail("load clients: " + what + ": " + std::strerror(errno), "look at the limit of open files");
}

// Status and body of an answer that is whole.
struct Whole {
  int status;
  std::string_view body;
};
std::optional<Whole> whole(const std::string& in) {
  const size_t head = in.find("\r\n\r\n");
  if (head == std::string::npos) return std::nullopt;
  constexpr std::string_view kLength = "Content-Length: ";
  const size_t at = in.find(kLength);
  size_t length = 0;
  if (at < head) {
    const char* digits = in.data() + at + kLength.size();
    std::from_chars(digits, in.data() + head, length);
  }
  if (in.size() < head + 4 + length) return std::nullopt;
  int status = 0;
  std::from_chars(in.data() + 9, in.data() + 12, status);
  return Whole{status, std::string_view(in).substr(head + 4, length)};
}

LeasesGiven given_of(std::string_view body) {
  return LeasesGiven::from_json(decode_body(std::string(body), kMessagePackType));
}

}  // namespace

double Latencies::at(double share) {
  if (seconds.empty()) return 0;
  std::sort(seconds.begin(), seconds.end());
  return seconds[std::min(seconds.size() - 1,
                          static_cast<size_t>(share * static_cast<double>(seconds.size())))];
}

LoadClients::LoadClients(uint16_t port, std::string token)
    : port_(port), token_(std::move(token)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) fail_call("epoll_create1");
}

LoadClients::~LoadClients() {
  for (const Worker& worker : workers_) ::close(worker.fd);
  for (const int fd : silent_) ::close(fd);
  ::close(epoll_);
}

int LoadClients::connect() const {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_call("socket");
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail_call("connect");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

std::string LoadClients::request(const char* method, const std::string& target,
                                 const Json& message) const {
  const std::string body = encode_body(message, kMessagePackType);
  return std::string(method) + " " + target +
         " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token_ +
         "\r\nContent-Type: " + kMessagePackType + "\r\nAccept: " + kMessagePackType + "\r\n" +
         kDigestHeader + ": " + content_digest(body) +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

void LoadClients::send(Worker& worker, Call call, const std::string& bytes) {
  worker.call = call;
  worker.sent = steady_now();
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(worker.fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) fail_call("send");
    if (n > 0) done += static_cast<size_t>(n);
    pollfd full{worker.fd, POLLOUT, 0};
    if (n < 0) ::poll(&full, 1, 1000);
  }
}

void LoadClients::set_weights(Worker& worker, const std::string& weights) {
  worker.ask =
      request("POST", "/v1/leases", LeasesAsked{worker.session, kCapacity, weights, 20}.to_json());
}

Json LoadClients::exchange(Worker& worker, const std::string& bytes, int& status) {
  send(worker, Call::kNone, bytes);
  for (const double start = steady_now(); steady_now() - start < kPatience;) {
    pollfd ready{worker.fd, POLLIN, 0};
    ::poll(&ready, 1, 1000);
    char piece[16384];
    const ssize_t n = ::recv(worker.fd, piece, sizeof piece, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    if (n > 0) worker.in.append(piece, static_cast<size_t>(n));
    if (const auto answer = whole(worker.in)) {
      status = answer->status;
      Json json = status == 200 ? decode_body(std::string(answer->body), kMessagePackType) : Json();
      worker.in.clear();
      return json;
    }
  }
  status = 0;
  return {};
}

std::map<int, int> LoadClients::join(int workers) {
  std::map<int, int> statuses;
  for (int i = 0; i < workers; ++i) {
    Worker worker;
    worker.fd = connect();
    Hello hello;
    hello.identity.contract = kernels::contract_hash();
    hello.name = "w" + std::to_string(named_++);
    int status = 0;
    const Json welcome = exchange(worker, request("POST", "/v1/hello", hello.to_json()), status);
    ++statuses[status];
    if (status != 200) {
      ::close(worker.fd);
      continue;
    }
    worker.session = Welcome::from_json(welcome).session;
    set_weights(worker, "");
    const Json first = exchange(worker, worker.ask, status);
    if (status != 200) fail("load clients: no answer to who asks for the first time");
    set_weights(worker, LeasesGiven::from_json(first).weights);
    Worker& kept = workers_.emplace_back(std::move(worker));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &kept;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, kept.fd, &event) != 0) fail_call("epoll_ctl");
  }
  return statuses;
}

void LoadClients::crowd(int connections) {
  for (int i = 0; i < connections; ++i) silent_.push_back(connect());
}

int LoadClients::pump(double seconds, const Answered& answered) {
  epoll_event events[256];
  const int n = ::epoll_wait(epoll_, events, 256, static_cast<int>(1000 * seconds) + 1);
  int count = 0;
  for (int i = 0; i < n; ++i) {
    Worker& worker = *static_cast<Worker*>(events[i].data.ptr);
    char piece[16384];
    const ssize_t got = ::recv(worker.fd, piece, sizeof piece, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) fail("load clients: a worker was hung up on");
    if (got > 0) worker.in.append(piece, static_cast<size_t>(got));
    const auto answer = whole(worker.in);
    if (!answer) continue;
    answered(worker, answer->status, answer->body, steady_now());
    ++count;
  }
  return count;
}

Latencies LoadClients::storm() {
  Latencies out;
  for (Worker& worker : workers_) ask(worker);
  const double start = steady_now();
  while (out.seconds.size() < workers_.size()) {
    pump(1, [&](Worker& worker, int, std::string_view, double now) {
      out.seconds.push_back(now - worker.sent);
    });
    if (steady_now() - start > kPatience) fail("load clients: not all were answered");
  }
  for (Worker& worker : workers_) {  // read when nobody waits any more
    const auto answer = whole(worker.in);
    if (answer->status != 200 || given_of(answer->body).leases.empty())
      fail("load clients: an answer without a lease");
    worker.in.clear();
  }
  return out;
}

Latencies LoadClients::wait_for_work(const std::function<double()>& ready) {
  for (Worker& worker : workers_) ask(worker);
  Latencies out;
  const double start = ready();
  while (out.seconds.size() < workers_.size()) {
    pump(1, [&](Worker& worker, int, std::string_view, double now) {
      out.seconds.push_back(now - start);
      worker.in.clear();
    });
    if (steady_now() - start > kPatience) fail("load clients: not all heard of the work");
  }
  return out;
}

void LoadClients::deliver(Worker& worker) {
  const Lease lease = std::move(worker.leases.front());
  worker.leases.pop_front();
  Sample sample;
  sample.tokens.assign(kTokens, static_cast<TokenId>(lease.id % 40));
  sample.logprobs.assign(kTokens, -1);
  sample.entropies.assign(kTokens, 1);
  const Result result{lease.id, worker.session, lease.weights,
                      std::vector<Sample>(lease.request.samples, sample)};
  send(worker, Call::kResult,
       request("PUT", "/v1/results/" + std::to_string(lease.id), result.to_json()));
}

LoadClients::Work LoadClients::work(double think, double seconds) {
  Work out;
  const double end = steady_now() + seconds;
  std::uniform_real_distribution<double> thinks(0.5 * think, 1.5 * think), first(0, think);
  using Due = std::pair<double, Worker*>;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due;
  int64_t busy = 0;
  const auto next = [&](Worker& worker, double now) {
    if (!worker.leases.empty()) return deliver(worker);
    worker.call = Call::kNone;
    if (now < end) return ask(worker);
    --busy;
  };
  const auto answered = [&](Worker& worker, int status, std::string_view body, double now) {
    const double took = now - worker.sent;
    bool thinking = false;
    if (worker.call == Call::kResult) {
      out.result.seconds.push_back(took);
      out.refused += status != 200;
    } else {
      LeasesGiven given = given_of(body);
      if (!given.leases.empty()) out.lease.seconds.push_back(took);
      for (Lease& lease : given.leases) worker.leases.push_back(std::move(lease));
      thinking = think > 0 && !worker.leases.empty();
    }
    worker.in.clear();
    if (thinking) return due.push({now + thinks(random_), &worker});
    next(worker, now);
  };
  for (Worker& worker : workers_) {  // not all at once: as they come after some time
    ++busy;
    due.push({steady_now() + first(random_), &worker});
  }
  while (busy > 0) {
    double now = steady_now();
    for (; !due.empty() && due.top().first <= now; now = steady_now()) {
      Worker& worker = *due.top().second;
      due.pop();
      next(worker, now);
    }
    pump(due.empty() ? 1 : std::max(0.0, due.top().first - now), answered);
    if (now > end + kPatience) fail("load clients: a worker heard nothing");
  }
  return out;
}

int LoadClients::finish() {
  for (Worker& worker : workers_) ask(worker);
  int finished = 0;
  size_t heard = 0;
  for (const double start = steady_now(); heard < workers_.size() && steady_now() - start < 30;) {
    pump(1, [&](Worker& worker, int, std::string_view body, double) {
      finished += given_of(body).finished;
      worker.in.clear();
      ++heard;
    });
  }
  return finished;
}

}  // namespace zeroth::bench
