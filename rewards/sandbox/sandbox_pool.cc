#include "rewards/sandbox/sandbox_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "rewards/sandbox/cgroup.h"

namespace zeroth {
namespace {

// Length-prefixed fields, both ends on the same machine and of the same build.
class Writer {
 public:
  void number(int64_t value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void real(double value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value)); }
  void text(const std::string& value) {
    number(static_cast<int64_t>(value.size()));
    bytes_ += value;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  int64_t number() {
    int64_t value = 0;
    copy(&value, sizeof(value));
    return value;
  }
  double real() {
    double value = 0;
    copy(&value, sizeof(value));
    return value;
  }
  std::string text() {
    const size_t size = static_cast<size_t>(number());
    if (size > bytes_.size() - at_) fail("sandbox worker sent a damaged message", "");
    std::string value = bytes_.substr(at_, size);
    at_ += size;
    return value;
  }

 private:
  void copy(void* to, size_t size) {
    if (size > bytes_.size() - at_) fail("sandbox worker sent a damaged message", "");
    std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
  }
  const std::string& bytes_;
  size_t at_ = 0;
};

bool send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::send(fd, data, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool receive_all(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::recv(fd, data, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool send_message(int fd, const std::string& body) {
  const int64_t size = static_cast<int64_t>(body.size());
  return send_all(fd, reinterpret_cast<const char*>(&size), sizeof(size)) &&
         send_all(fd, body.data(), body.size());
}

bool receive_message(int fd, std::string& body) {
  int64_t size = 0;
  if (!receive_all(fd, reinterpret_cast<char*>(&size), sizeof(size)) || size < 0 ||
      size > (int64_t{1} << 32))
    return false;
  body.resize(static_cast<size_t>(size));
  return receive_all(fd, body.data(), body.size());
}

std::string pack(const SandboxJob& job) {
  Writer w;
  w.number(static_cast<int64_t>(job.argv.size()));
  for (const std::string& arg : job.argv) w.text(arg);
  w.text(job.input);
  w.number(static_cast<int64_t>(job.files.size()));
  for (const SandboxFile& file : job.files) {
    w.text(file.name);
    w.text(file.content);
  }
  w.text(job.stage_mark);
  w.number(job.stages);
  w.real(job.limits.wall_seconds);
  w.real(job.limits.start_seconds);
  w.real(job.limits.total_seconds);
  w.number(job.limits.memory_bytes);
  w.number(job.limits.processes);
  w.number(job.limits.output_bytes);
  w.number(job.limits.scratch_bytes);
  w.number(job.limits.open_files);
  w.number(job.compile);
  w.number(static_cast<int64_t>(job.folders.size()));
  for (const std::string& folder : job.folders) w.text(folder);
  return w.bytes();
}

SandboxJob unpack_job(const std::string& bytes) {
  Reader r(bytes);
  SandboxJob job;
  for (int64_t n = r.number(); n > 0; --n) job.argv.push_back(r.text());
  job.input = r.text();
  for (int64_t n = r.number(); n > 0; --n) {
    SandboxFile file;
    file.name = r.text();
    file.content = r.text();
    job.files.push_back(std::move(file));
  }
  job.stage_mark = r.text();
  job.stages = static_cast<int>(r.number());
  job.limits.wall_seconds = r.real();
  job.limits.start_seconds = r.real();
  job.limits.total_seconds = r.real();
  job.limits.memory_bytes = r.number();
  job.limits.processes = static_cast<int>(r.number());
  job.limits.output_bytes = r.number();
  job.limits.scratch_bytes = r.number();
  job.limits.open_files = static_cast<int>(r.number());
  job.compile = r.number() != 0;
  for (int64_t n = r.number(); n > 0; --n) job.folders.push_back(r.text());
  return job;
}

std::string pack(const SandboxResult& result) {
  Writer w;
  w.number(static_cast<int64_t>(result.status));
  w.number(result.exit_code);
  w.number(result.signal);
  w.number(result.out_of_memory);
  w.number(result.starved);
  w.text(result.disturbed);
  w.text(result.report);
  w.text(result.out);
  w.text(result.err);
  w.text(result.error);
  w.real(result.seconds);
  w.real(result.waited_seconds);
  return w.bytes();
}

SandboxResult unpack_result(const std::string& bytes) {
  Reader r(bytes);
  SandboxResult result;
  result.status = static_cast<SandboxResult::Status>(r.number());
  result.exit_code = static_cast<int>(r.number());
  result.signal = static_cast<int>(r.number());
  result.out_of_memory = r.number() != 0;
  result.starved = r.number() != 0;
  result.disturbed = r.text();
  result.report = r.text();
  result.out = r.text();
  result.err = r.text();
  result.error = r.text();
  result.seconds = r.real();
  result.waited_seconds = r.real();
  return result;
}

// Of what the parent has open only the standard streams stay: a socket of another worker would hide
// from it that the parent has ended, a lock of a run would outlive its run.
int close_all_but(int fd) {
  constexpr int kKept = 3;
  if (fd != kKept) {
    ::dup3(fd, kKept, O_CLOEXEC);
    ::close(fd);
  }
  if (::syscall(SYS_close_range, kKept + 1u, ~0u, 0u) != 0) {
    for (int other = kKept + 1; other < 65536; ++other) ::close(other);
  }
  return kKept;
}

[[noreturn]] void serve(int fd) {
  // Ends when the parent does, which its closed socket tells, and not before: Ctrl-C and kills of
  // the process group are the parent's business.
  ::setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE})
    ::signal(signal, SIG_IGN);
  fd = close_all_but(fd);
  {
    SandboxSeat seat(fd);
    std::string message;
    while (receive_message(fd, message)) {
      SandboxResult result;
      try {
        result = seat.run(unpack_job(message));
      } catch (const std::exception& error) {
        result.error = error.what();
      }
      if (!send_message(fd, pack(result))) break;
    }
  }
  ::_exit(0);
}

constexpr int kMaxAttempts = 3;
constexpr std::chrono::seconds kGoodbye{5};

}  // namespace

struct SandboxPool::Impl {
  struct Worker {
    pid_t pid = -1;
    int fd = -1;
    int64_t job = -1;  // index of the job it runs, or -1
  };
  std::vector<Worker> workers;
  std::mutex mutex;

  void start(Worker& worker) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
      fail(std::string("cannot make a socket pair: ") + std::strerror(errno), "raise ulimit -n");
    }
    const pid_t pid = ::fork();
    if (pid < 0)
      fail(std::string("cannot fork a sandbox worker: ") + std::strerror(errno), "raise ulimit -u");
    if (pid == 0) {
      ::close(fds[0]);
      for (const Worker& other : workers) {
        if (other.fd >= 0) ::close(other.fd);
      }
      serve(fds[1]);
    }
    ::close(fds[1]);
    worker = {pid, fds[0], -1};
  }

  // A worker that does not go by itself, or went without clearing up, is helped.
  void stop(Worker& worker) {
    if (worker.fd >= 0) ::close(worker.fd);
    if (worker.pid > 0) {
      int status = 0;
      const auto ended = [&](int flags) {
        pid_t pid;
        while ((pid = ::waitpid(worker.pid, &status, flags)) < 0 && errno == EINTR) {
        }
        return pid != 0;
      };
      const auto patience = std::chrono::steady_clock::now() + kGoodbye;
      bool gone = ended(WNOHANG);
      for (; !gone && std::chrono::steady_clock::now() < patience; gone = ended(WNOHANG))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!gone) {
        ::kill(worker.pid, SIGKILL);
        ended(0);
      }
      if (!gone || status != 0) Cgroup::remove_of(worker.pid);
    }
    worker = Worker();
  }
};

SandboxPool::SandboxPool(int workers) : impl_(std::make_unique<Impl>()) {
  if (workers <= 0) workers = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Cgroup::remove_stale();
  impl_->workers.resize(static_cast<size_t>(workers));
  for (Impl::Worker& worker : impl_->workers) impl_->start(worker);
}

SandboxPool::~SandboxPool() {
  // All are told before the first is waited for.
  for (Impl::Worker& worker : impl_->workers) ::shutdown(worker.fd, SHUT_RDWR);
  for (Impl::Worker& worker : impl_->workers) impl_->stop(worker);
}

std::vector<int> SandboxPool::worker_pids() const {
  std::vector<int> pids;
  for (const Impl::Worker& worker : impl_->workers) pids.push_back(worker.pid);
  return pids;
}

std::vector<SandboxResult> SandboxPool::run(const std::vector<SandboxJob>& jobs) {
  std::lock_guard lock(impl_->mutex);
  std::vector<SandboxResult> results(jobs.size());
  std::vector<int> attempts(jobs.size(), 0);
  std::deque<int64_t> waiting;
  for (size_t i = 0; i < jobs.size(); ++i) waiting.push_back(static_cast<int64_t>(i));
  size_t done = 0;
  const auto lost = [&](Impl::Worker& worker, int64_t job) {
    impl_->stop(worker);
    impl_->start(worker);
    if (++attempts[job] < kMaxAttempts) {
      waiting.push_front(job);
    } else {
      results[job].error = "its sandbox worker died " + std::to_string(kMaxAttempts) + " times";
      ++done;
    }
  };
  while (done < jobs.size()) {
    std::vector<pollfd> fds;
    std::vector<Impl::Worker*> busy;
    for (Impl::Worker& worker : impl_->workers) {
      while (worker.job < 0 && !waiting.empty()) {
        const int64_t job = waiting.front();
        waiting.pop_front();
        if (send_message(worker.fd, pack(jobs[job])))
          worker.job = job;
        else
          lost(worker, job);
      }
      if (worker.job >= 0) {
        fds.push_back({worker.fd, POLLIN, 0});
        busy.push_back(&worker);
      }
    }
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) fail("poll failed", "");
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      Impl::Worker& worker = *busy[i];
      const int64_t job = worker.job;
      std::string message;
      if (receive_message(worker.fd, message)) {
        results[job] = unpack_result(message);
        worker.job = -1;
        ++done;
      } else {
        lost(worker, job);
      }
    }
  }
  return results;
}

}  // namespace zeroth
