#include "ranks/rendezvous.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/host_name.h"
#include "core/terminal.h"
#include "ranks/wire.h"

namespace zeroth {
namespace {

using namespace ranks;

constexpr char kProtocol[] = "zeroth ranks 1";
constexpr size_t kMostValue = size_t{1} << 16, kMostKeys = size_t{1} << 16;
constexpr size_t kMostText = 4000;  // bytes of a message to be shown
constexpr auto kBeat = std::chrono::milliseconds(500);
constexpr auto kTick = std::chrono::milliseconds(50);
// After a fault so long is waited for ranks that have not come, to tell them too.
constexpr auto kFaultGrace = std::chrono::seconds(2);

Clock::duration seconds(double s) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
}

std::string short_number(double x) {
  std::string text = std::to_string(x);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string this_process() {
  return "process " + std::to_string(::getpid()) + " on " + host_name();
}

// What another process says, to be shown: a name or a value, a message. Throw for what is no text.
std::string shown(const Json& text) {
  return printable_line(text.get_ref<const std::string&>(), 300);
}
std::string message_of(const Json& text) {
  return printable(text.get_ref<const std::string&>().substr(0, kMostText));
}

struct Peer {
  int rank = -1;
  std::string process;
  Wire wire;
  Clock::time_point heard = Clock::now();
  bool done = false;  // it said goodbye
};

Json hello_of(const Launch& launch, const std::vector<RankFact>& facts) {
  Json values = Json::array();
  for (const RankFact& fact : facts) values.push_back({fact.name, fact.value});
  return {{"protocol", kProtocol}, {"job", launch.job},         {"rank", launch.rank},
          {"size", launch.size},   {"process", this_process()}, {"facts", std::move(values)}};
}

std::string at(const Launch& launch) { return launch.host + ":" + std::to_string(launch.port); }

// Rank 0's listening socket. Where the address is in use its owner is asked: it may be another rank
// 0, which then says what is wrong to all that it has heard of.
Wire open_door(const Launch& launch, const Json& hello) {
  try {
    return Wire(listen_at(launch.host, launch.port, 2 * launch.size));
  } catch (const Error&) {
    std::string why;
    Wire wire(connect_to(launch.host, launch.port, why));
    std::optional<Json> answer;
    try {
      if (wire.open() && wire.send(hello)) answer = wire.wait(Clock::now() + 2 * kFaultGrace);
      if (answer) why = message_of(answer->at("refused"));
    } catch (const std::exception&) {
      answer.reset();  // no rank
    }
    if (answer) {
      fail("another process at " + at(launch) + " is rank 0 already, and refused this one: " + why,
           "give every process a rank of its own, and every job a MASTER_PORT");
    }
    throw;
  }
}

}  // namespace

struct Rendezvous::Impl {
  Launch launch;
  RendezvousOptions options;
  std::vector<Peer> peers;  // rank 0: all others; others: rank 0
  Wire door;                // rank 0: the listening socket
  std::string address = "127.0.0.1";

  mutable std::mutex mutex;  // guards what follows, and sending
  mutable std::condition_variable changed;
  std::map<std::string, std::string> values;
  std::string lost;
  Clock::time_point lost_at;
  std::atomic<bool> quit{false};
  std::thread thread;

  void gather(const std::vector<RankFact>& facts);
  void join(const std::vector<RankFact>& facts);
  std::string fault_of(const Json& hello, const std::vector<RankFact>& facts, Peer& peer) const;
  std::string missing() const;
  void watch();
  void beat(Clock::time_point now);
  void refuse_late();
  void listen(Peer& peer);
  void take(Peer& peer, const Json& message);
  void lose(const std::string& why);
  void finish(Peer& peer);
  void send_all(const Json& message, int but = -1);
  void pass_on(const Json& message, int to, int from);
  std::string name_of(const Peer& peer) const {
    return "rank " + std::to_string(peer.rank) + " of " + std::to_string(launch.size) + " (" +
           peer.process + ")";
  }
};

// What is wrong with a rank that says hello; fills `peer`.
std::string Rendezvous::Impl::fault_of(const Json& hello, const std::vector<RankFact>& facts,
                                       Peer& peer) const {
  peer.rank = hello.at("rank").get<int>();
  peer.process = shown(hello.at("process"));
  const int size = hello.at("size").get<int>();
  if (size != launch.size) {
    return "rank " + std::to_string(peer.rank) + " (" + peer.process + ") was told of " +
           std::to_string(size) + " ranks, rank 0 of " + std::to_string(launch.size);
  }
  if (peer.rank == 0 || peer.rank < 0 || peer.rank >= size) {
    return "a second process (" + peer.process + ") says that it is rank " +
           std::to_string(peer.rank) + " of " + std::to_string(size);
  }
  for (const Peer& other : peers) {
    if (other.rank == peer.rank)
      return "two processes say that they are rank " + std::to_string(peer.rank) + ": " +
             other.process + ", and " + peer.process;
  }
  const Json& theirs = hello.at("facts");
  for (size_t i = 0; i < facts.size(); ++i) {
    const std::string value =
        i < theirs.size() && theirs[i].at(0) == facts[i].name ? shown(theirs[i].at(1)) : "nothing";
    if (value != facts[i].value)
      return name_of(peer) + " has " + value + " as " + facts[i].name + ", rank 0 has " +
             facts[i].value;
  }
  return {};
}

std::string Rendezvous::Impl::missing() const {
  std::string ranks;
  int count = 0;
  for (int r = 1; r < launch.size; ++r) {
    if (std::any_of(peers.begin(), peers.end(), [&](const Peer& p) { return p.rank == r; }))
      continue;
    if (++count <= 8) ranks += (ranks.empty() ? "" : ", ") + std::to_string(r);
  }
  if (count == 0) return {};
  if (count > 8) ranks += " and " + std::to_string(count - 8) + " more";
  return (count == 1 ? "rank " : "ranks ") + ranks + " of " + std::to_string(launch.size) +
         " did not come to " + at(launch) + " within " + short_number(options.timeout_s) + " s";
}

void Rendezvous::Impl::gather(const std::vector<RankFact>& facts) {
  door = open_door(launch, hello_of(launch, facts));
  const int listener = door.fd();
  std::vector<Peer> waiting;  // without a hello yet, or with a wrong one
  std::string fault;
  int heard = 0;
  auto deadline = Clock::now() + seconds(options.timeout_s);
  const auto hear = [&](Peer& peer, const Json& hello) {
    if (hello.value("protocol", std::string()) != kProtocol) return peer.wire.close();
    if (hello.value("job", std::string()) != launch.job) {
      // It came to the wrong place, which is no fault of this job.
      peer.wire.send({{"refused", "at " + at(launch) + " is rank 0 of job \"" + launch.job +
                                      "\", not of \"" + shown(hello.at("job")) + '"'}});
      return peer.wire.close();
    }
    const std::string why = fault_of(hello, facts, peer);
    ++heard;
    if (why.empty()) return peers.push_back(std::move(peer));
    if (fault.empty()) deadline = std::min(deadline, Clock::now() + kFaultGrace);
    if (fault.empty()) fault = why;
  };
  while (Clock::now() < deadline && heard < launch.size - 1) {
    std::vector<pollfd> ready{{listener, POLLIN, 0}};
    for (const Peer& peer : waiting) ready.push_back({peer.wire.fd(), POLLIN, 0});
    ::poll(ready.data(), ready.size(), 50);
    for (int fd = accept_at(listener); fd >= 0; fd = accept_at(listener)) {
      if (waiting.size() > 4 * static_cast<size_t>(kMostRanks)) waiting.erase(waiting.begin());
      waiting.emplace_back().wire = Wire(fd);
    }
    for (Peer& peer : waiting) {
      if (!peer.wire.open() || peer.rank >= 0) continue;  // a stranger, or refused already
      const bool alive = peer.wire.receive();
      try {
        const auto hello = peer.wire.next();
        if (hello) hear(peer, *hello);
        if (!hello && !alive) peer.wire.close();
      } catch (const std::exception&) {
        peer.wire.close();  // whatever it is, it is no rank
      }
    }
    std::erase_if(waiting, [](const Peer& peer) { return !peer.wire.open(); });
    for (const Peer& peer : peers) {
      pollfd one{peer.wire.fd(), POLLRDHUP, 0};
      if (fault.empty() && ::poll(&one, 1, 0) > 0) {
        fault = name_of(peer) + " is gone before all had come";
        deadline = std::min(deadline, Clock::now() + kFaultGrace);
      }
    }
  }
  if (fault.empty()) fault = missing();
  if (!fault.empty()) {
    for (auto* list : {&peers, &waiting})
      for (Peer& peer : *list) peer.wire.send({{"refused", fault}});
    zeroth::fail(fault, "start all ranks of one job with one binary and one config");
  }
  for (Peer& peer : peers) {
    peer.heard = Clock::now();
    peer.wire.send({{"welcome", launch.size}, {"process", this_process()}});
  }
  address = local_address(peers.front().wire.fd());
}

void Rendezvous::Impl::join(const std::vector<RankFact>& facts) {
  const auto deadline = Clock::now() + seconds(options.timeout_s);
  std::string why;
  Peer rank0;
  rank0.rank = 0;
  while (!rank0.wire.open()) {
    rank0.wire = Wire(connect_to(launch.host, launch.port, why));
    if (rank0.wire.open()) break;
    if (Clock::now() > deadline) {
      zeroth::fail("rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) +
                       " found no rank 0 at " + at(launch) + " within " +
                       short_number(options.timeout_s) + " s: " + why,
                   "look at rank 0's output; MASTER_ADDR and MASTER_PORT are to lead to it");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const auto stranger = [&](const std::string& what) {
    zeroth::fail("what listens at " + at(launch) + " is not rank 0 of this job: " + what,
                 "look at rank 0's output; is MASTER_PORT in use by another program?");
  };
  rank0.wire.send(hello_of(launch, facts));
  std::optional<Json> answer;
  try {
    // Rank 0 may have begun to wait later, and says itself who is missing.
    answer = rank0.wire.wait(deadline + seconds(options.timeout_s) + kFaultGrace);
  } catch (const std::exception& error) {
    stranger(error.what());
  }
  if (!answer) stranger("it ended the connection, or said nothing");
  try {
    if (answer->contains("refused")) {
      zeroth::fail("rank 0 refused: " + message_of(answer->at("refused")),
                   "start all ranks of one job with one binary and one config");
    }
    if (answer->at("welcome") != launch.size) stranger("it answered something else");
    rank0.process = shown(answer->at("process"));
  } catch (const Json::exception&) {
    stranger("it answered something else");
  }
  rank0.heard = Clock::now();
  address = local_address(rank0.wire.fd());
  peers.push_back(std::move(rank0));
}

void Rendezvous::Impl::send_all(const Json& message, int but) {
  for (Peer& peer : peers) {
    if (peer.rank != but && !peer.done) peer.wire.send(message);
  }
}

void Rendezvous::Impl::lose(const std::string& why) {
  {
    const std::lock_guard lock(mutex);
    if (!lost.empty()) return;
    lost = why;
    lost_at = Clock::now();
    if (launch.rank == 0) send_all({{"lost", why}});
    changed.notify_all();
  }
  if (options.on_lost) options.on_lost(why);
}

// Of rank 0, which every message passes.
void Rendezvous::Impl::pass_on(const Json& message, int to, int from) {
  if (to == kAllRanks) return send_all(message, from);
  for (Peer& peer : peers) {
    if (peer.rank == to && !peer.done) peer.wire.send(message);
  }
}

// Nothing more is said to it.
void Rendezvous::Impl::finish(Peer& peer) {
  const std::lock_guard lock(mutex);
  peer.done = true;
}

void Rendezvous::Impl::take(Peer& peer, const Json& message) {
  peer.heard = Clock::now();
  if (message.contains("set")) {
    const std::lock_guard lock(mutex);
    const auto& bytes = message.at("value").get_binary();
    if (bytes.size() > kMostValue || values.size() == kMostKeys)
      zeroth::fail("more or longer values than a rank sets");
    const int to = message.at("to").get<int>();
    if (launch.rank == 0 && to != 0) pass_on(message, to, peer.rank);
    if (to != kAllRanks && to != launch.rank) return;
    values[message.at("set").get<std::string>()] = std::string(bytes.begin(), bytes.end());
    changed.notify_all();
  } else if (message.contains("failed")) {
    lose(name_of(peer) + " failed: " + message_of(message.at("failed")));
  } else if (message.contains("lost")) {
    lose(message_of(message.at("lost")));
  } else if (message.contains("bye")) {
    finish(peer);
  }
}

void Rendezvous::Impl::listen(Peer& peer) {
  try {
    const bool alive = peer.wire.receive();
    while (const auto message = peer.wire.next()) take(peer, *message);
    if (alive || peer.done) return;
    lose(name_of(peer) + " is gone: its connection ended");
  } catch (const std::exception& error) {
    lose(name_of(peer) + " sent what is no message: " + error.what());
  }
  finish(peer);
}

void Rendezvous::Impl::beat(Clock::time_point now) {
  {
    const std::lock_guard lock(mutex);
    send_all({{"beat", 1}});
  }
  for (Peer& peer : peers) {
    if (peer.done || now - peer.heard < seconds(options.silence_s)) continue;
    lose(name_of(peer) + " is gone: it has been silent for " + short_number(options.silence_s) +
         " s");
    finish(peer);
  }
}

// Somebody comes when all are there.
void Rendezvous::Impl::refuse_late() {
  const int fd = accept_at(door.fd());
  if (fd < 0) return;
  Wire wire(fd);
  try {
    // What it says is read, so that closing does not throw the answer away.
    wire.wait(Clock::now() + 4 * kTick);
    wire.send({{"refused", "the job at " + at(launch) + " has all its " +
                               std::to_string(launch.size) + " ranks already"}});
  } catch (const std::exception&) {
    // No rank.
  }
}

void Rendezvous::Impl::watch() {
  auto next_beat = Clock::now(), last_turn = next_beat;
  while (!quit) {
    std::vector<pollfd> ready;
    std::vector<Peer*> of;
    for (Peer& peer : peers) {
      if (peer.done) continue;
      ready.push_back({peer.wire.fd(), POLLIN, 0});
      of.push_back(&peer);
    }
    ::poll(ready.data(), ready.size(), static_cast<int>(std::chrono::milliseconds(kTick).count()));
    for (size_t i = 0; i < ready.size(); ++i) {
      if (ready[i].revents != 0) listen(*of[i]);
    }
    if (door.open()) refuse_late();
    const auto now = Clock::now();
    // A process that was stopped itself has not heard anybody meanwhile.
    if (now - last_turn > seconds(options.silence_s / 2)) {
      for (Peer& peer : peers) peer.heard = now;
    }
    last_turn = now;
    if (options.on_tick) options.on_tick();
    if (now >= next_beat) beat(now);
    if (now >= next_beat) next_beat = now + kBeat;
    std::unique_lock lock(mutex);
    if (lost.empty() || now - lost_at < seconds(options.grace_s)) continue;
    lock.unlock();
    if (options.on_overdue) options.on_overdue(lost);
    return;
  }
}

Rendezvous::Rendezvous(const Launch& launch, const std::vector<RankFact>& facts,
                       const RendezvousOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->launch = launch;
  impl_->options = options;
  impl_->peers.reserve(launch.size);
  launch.rank == 0 ? impl_->gather(facts) : impl_->join(facts);
  impl_->thread = std::thread([this] { impl_->watch(); });
}

Rendezvous::~Rendezvous() {
  impl_->quit = true;
  impl_->thread.join();
  if (impl_->lost.empty()) impl_->send_all({{"bye", 1}});
}

void Rendezvous::set(const std::string& key, const std::string& value, int to) {
  if (value.size() > kMostValue)
    zeroth::fail("a value of " + std::to_string(value.size()) + " bytes");
  const std::lock_guard lock(impl_->mutex);
  const int own = impl_->launch.rank;
  if (to == kAllRanks || to == own) impl_->values[key] = value;
  const Json message = {{"set", key},
                        {"to", to},
                        {"value", Json::binary(std::vector<uint8_t>(value.begin(), value.end()))}};
  if (own != 0) {
    if (to != own) impl_->send_all(message);
  } else if (to != 0) {
    impl_->pass_on(message, to, 0);
  }
  impl_->changed.notify_all();
}

std::string Rendezvous::get(const std::string& key) {
  std::unique_lock lock(impl_->mutex);
  const bool there = impl_->changed.wait_for(lock, seconds(impl_->options.timeout_s), [&] {
    return !impl_->lost.empty() || impl_->values.contains(key);
  });
  if (!impl_->lost.empty()) zeroth::fail(impl_->lost);
  if (!there) zeroth::fail("no rank has said \"" + key + "\" in time");
  return impl_->values.at(key);
}

std::string Rendezvous::address() const { return impl_->address; }

void Rendezvous::fail(const std::string& message) noexcept {
  try {
    const std::lock_guard lock(impl_->mutex);
    if (!impl_->lost.empty()) return;
    impl_->lost = message;
    impl_->lost_at = Clock::now() + std::chrono::hours(24);  // this process is ending already
    const std::string text = message.substr(0, kMostText);
    if (impl_->launch.rank != 0) return impl_->send_all({{"failed", text}});
    impl_->send_all({{"lost", "rank 0 of " + std::to_string(impl_->launch.size) + " (" +
                                  this_process() + ") failed: " + text}});
  } catch (const std::exception&) {
    // The others will see the connection end.
  }
}

std::string Rendezvous::lost(double wait_s) const {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait_for(lock, seconds(wait_s), [&] { return !impl_->lost.empty(); });
  return impl_->lost;
}

}  // namespace zeroth
