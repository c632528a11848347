#include "rewards/sandbox/collector.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace zeroth::sandbox_detail {
namespace {

using Seconds = std::chrono::duration<double>;

// Memory is looked at so often that little can be filled meanwhile, at the speed at which two cores
// get fresh pages. A single process has a limit of its own and is looked at for having started
// others. Looking takes a third of a core at most.
constexpr double kFillRate = 4e9;  // bytes a second
constexpr double kLeastWatch = 0.002, kMostWatch = 0.005, kAloneWatch = 0.02;
constexpr double kWatchShare = 2;
// Patience is looked at every 20 to 60 ms, unless that costs much.
constexpr double kLookMean = 0.04, kLookShare = 50;

std::chrono::steady_clock::duration ticks(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(Seconds(seconds));
}

// Of this thread: what looking costs, however busy the machine is.
double cpu_seconds() {
  timespec used;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

}  // namespace

Collector::Collector(const SandboxJob& job, bool watch_memory, int lifeline, JobPipes& pipes,
                     SandboxResult& result)
    : job_(job),
      watch_memory_(watch_memory),
      lifeline_(lifeline),
      result_(result),
      in_(pipes.in),
      streams_{
          {&pipes.out, &result.out}, {&pipes.err, &result.err}, {&pipes.report, &result.report}},
      jitter_(std::random_device{}()) {
  ::fcntl(in_.write_end(), F_SETFL, O_NONBLOCK);
}

bool Collector::run(pid_t init, int pidfd) {
  start_ = stage_start_ = next_watch_ = Clock::now();
  next_look_ = start_ + ticks(kLookMean);
  set_deadline(0);
  patience_.emplace(init);
  looked_ = cpu_seconds();
  memory_.emplace(init, job_.limits.memory_bytes);
  for (bool ended = false; !ended || drain_once();) {
    if (ended) continue;
    auto until = std::min(deadline_, next_look_);
    if (watch_memory_) until = std::min(until, next_watch_);
    const Event event = wait(pidfd, until);
    if (event == Event::kOrphaned) {
      result_.error = "who asked for the job has ended";
      return false;
    }
    feed();
    drain_once();
    if (too_long_) break;
    ended = event == Event::kEnded;
    if (!ended && (!in_time() || too_much_memory())) return false;
  }
  if (too_long_) result_.status = SandboxResult::Status::kOutputLimit;
  return !too_long_;
}

Collector::Event Collector::wait(int pidfd, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(until - Clock::now());
  const auto most = std::max<int64_t>(left.count(), 0);
  pollfd fds[6] = {{pidfd, POLLIN, 0}, {lifeline_, POLLRDHUP, 0}};
  nfds_t count = 2;
  for (const Stream& stream : streams_) {
    if (stream.pipe->read_end() >= 0) fds[count++] = {stream.pipe->read_end(), POLLIN, 0};
  }
  if (in_.write_end() >= 0) fds[count++] = {in_.write_end(), POLLOUT, 0};
  const timespec patience{static_cast<time_t>(most / 1000000),
                          static_cast<long>(most % 1000000 * 1000)};
  if (::ppoll(fds, count, &patience, nullptr) <= 0) return Event::kNone;
  if (fds[1].revents != 0) return Event::kOrphaned;
  return (fds[0].revents & POLLIN) != 0 ? Event::kEnded : Event::kNone;
}

// Does a line of the report begin another stage?
bool Collector::next_stage() {
  if (job_.stage_mark.empty()) return false;
  const std::string& report = result_.report;
  const int stage = stage_;
  for (size_t end = report.find('\n', scanned_); end != report.npos && stage_ < job_.stages;
       end = report.find('\n', scanned_)) {
    stage_ += report.compare(scanned_, job_.stage_mark.size(), job_.stage_mark) == 0;
    scanned_ = end + 1;
  }
  return stage_ != stage;
}

double Collector::stage_limit() const {
  return job_.limits.wall_seconds + (stage_ == 1 ? job_.limits.start_seconds : 0);
}

// `waited`: seconds that others kept the program from a core, in all stages.
void Collector::set_deadline(double waited) {
  const SandboxLimits& limits = job_.limits;
  const double limit = stage_limit();
  const double in_stage = std::min(waited - waited_before_, limit * (kMostPatience - 1));
  deadline_ = stage_start_ + ticks(limit + in_stage);
  if (limits.total_seconds > 0) {
    const double in_all = std::min(waited, limits.total_seconds * (kMostPatience - 1));
    deadline_ = std::min(deadline_, start_ + ticks(limits.total_seconds + in_all));
  }
}

bool Collector::in_time() {
  const auto now = Clock::now();
  const bool next = next_stage();
  if (!next && now < next_look_ && now < deadline_) return true;
  const double before = cpu_seconds();
  const double waited = result_.waited_seconds = patience_->look();
  if (next) {
    stage_start_ = now;
    waited_before_ = waited;
  }
  set_deadline(waited);
  const double spread = std::uniform_real_distribution<double>(0.5, 1.5)(jitter_);
  next_look_ =
      Clock::now() + ticks(std::max(kLookMean * spread, kLookShare * (cpu_seconds() - before)));
  if (now < deadline_) {
    looked_ = cpu_seconds();
    return true;
  }
  result_.status = SandboxResult::Status::kTimeout;
  const double limit = stage_limit();
  // We were stopped ourselves, unless the program ran meanwhile or made looking at it slow.
  const double stopped = patience_->between() - patience_->ran() - (before - looked_);
  result_.starved = std::min(Seconds(now - deadline_).count(), stopped) > limit / 4;
  // Not all that it waited could be granted.
  if (Seconds(now - stage_start_).count() - (waited - waited_before_) < limit &&
      (job_.limits.total_seconds <= 0 ||
       Seconds(now - start_).count() - waited < job_.limits.total_seconds)) {
    result_.status = SandboxResult::Status::kInfrastructure;
    result_.error = "the machine is too busy: the program waited for a core for " +
                    std::to_string(waited) + " s, its limit is " + std::to_string(limit) + " s";
  }
  return false;
}

bool Collector::too_much_memory() {
  if (!watch_memory_ || Clock::now() < next_watch_) return false;
  const double before = cpu_seconds();
  const int64_t limit = job_.limits.memory_bytes;
  const int64_t used = memory_->look();
  const double room = std::clamp(static_cast<double>(limit - used) / kFillRate, kLeastWatch,
                                 memory_->processes() > 1 ? kMostWatch : kAloneWatch);
  next_watch_ = Clock::now() + ticks(std::max(room, kWatchShare * (cpu_seconds() - before)));
  if (used <= limit) return false;
  result_.status = SandboxResult::Status::kExited;
  result_.signal = SIGKILL;
  result_.out_of_memory = true;
  return true;
}

void Collector::feed() {
  if (in_.write_end() < 0) return;
  const ssize_t n = ::write(in_.write_end(), job_.input.data() + fed_, job_.input.size() - fed_);
  if (n > 0) fed_ += static_cast<size_t>(n);
  if (fed_ == job_.input.size() || (n < 0 && errno != EAGAIN && errno != EINTR)) in_.close_write();
}

// Reads what is there now; true when anything came and more may.
bool Collector::drain_once() {
  bool any = false;
  for (Stream& stream : streams_) {
    if (stream.pipe->read_end() < 0) continue;
    pollfd fd{stream.pipe->read_end(), POLLIN, 0};
    if (::poll(&fd, 1, 0) <= 0) continue;
    char buffer[1 << 16];
    const ssize_t n = ::read(fd.fd, buffer, sizeof(buffer));
    if (n < 0) continue;
    if (n == 0) {
      stream.pipe->close_read();
      continue;
    }
    any = true;
    const size_t room = static_cast<size_t>(job_.limits.output_bytes) - stream.text->size();
    stream.text->append(buffer, std::min(room, static_cast<size_t>(n)));
    too_long_ |= static_cast<size_t>(n) > room;
  }
  return any && !too_long_;
}

}  // namespace zeroth::sandbox_detail
