#include "tasks/plugins/plugin_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "core/stopwatch.h"
#include "core/system.h"
#include "tasks/plugins/plugin_children.h"

extern "C" char** environ;  // not every system declares it

namespace zeroth {
namespace {

constexpr size_t kMaxReply = size_t{64} << 20;
constexpr auto kExitWait = std::chrono::milliseconds(200);

struct Pipe {
  int fd[2] = {-1, -1};
  ~Pipe() {
    for (const int end : fd) {
      if (end >= 0) ::close(end);
    }
  }
  int release(int end) { return std::exchange(fd[end], -1); }
};

std::string error_text(const std::string& what) { return what + ": " + std::strerror(errno); }

// The variables of this process, and a seed for the hashes of Python: the order of a set must not
// differ between the workers of a plug-in, or between a run and the rest of it after a resumption.
// The mark is what its own children are known by (plugin_children.h).
std::vector<char*> environment(std::string& mark) {
  static char seed[] = "PYTHONHASHSEED=0";
  std::vector<char*> entries;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
    entries.push_back(*entry);
  if (std::getenv("PYTHONHASHSEED") == nullptr) entries.push_back(seed);
  entries.push_back(mark.data());
  entries.push_back(nullptr);
  return entries;
}

// Between fork and exec: nothing that allocates.
[[noreturn]] void run_child(char* const* argv, char** variables, int in, int out, int status,
                            pid_t parent) {
  ::setpgid(0, 0);
  system::end_with_parent(SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(status, 3);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  system::close_from(4);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  ::environ = variables;
  ::execvp(argv[0], argv);
  const int code = errno;
  if (::write(3, &code, sizeof code) < 0) ::_exit(1);
  ::_exit(127);
}

std::string printable(std::string text) {
  if (text.size() > 120) text = text.substr(0, 117) + "...";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  return text;
}

}  // namespace

void ProcessChannel::open() {
  if (pid_ > 0) return;
  Pipe in, out, status;
  for (Pipe* pipe : {&in, &out, &status}) {
    if (!system::open_pipe(pipe->fd))
      throw PluginFault(PluginFaultKind::kUnreachable, error_text("cannot make a pipe"));
    // Keeps clear of the numbers that the child places its ends at.
    for (int& end : pipe->fd) {
      if (end > 3) continue;
      const int high = ::fcntl(end, F_DUPFD_CLOEXEC, 4);
      ::close(end);
      end = high;
    }
  }
  std::vector<char*> argv;
  for (std::string& word : argv_) argv.push_back(word.data());
  argv.push_back(nullptr);
  mark_ = new_worker_mark();
  std::vector<char*> variables = environment(mark_);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw PluginFault(PluginFaultKind::kUnreachable, error_text("cannot fork"));
  if (pid == 0) run_child(argv.data(), variables.data(), in.fd[0], out.fd[1], status.fd[1], parent);
  ::setpgid(pid, pid);
  pid_ = pid;
  in_ = in.release(1);
  out_ = out.release(0);
  ::fcntl(in_, F_SETFL, O_NONBLOCK);
  ::fcntl(out_, F_SETFL, O_NONBLOCK);
  ::close(status.release(1));
  int code = 0;
  ssize_t n = 0;
  do {
    n = ::read(status.fd[0], &code, sizeof code);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof code) {
    close();
    throw PluginFault(PluginFaultKind::kUnreachable,
                      "cannot start " + argv_[0] + ": " + std::strerror(code));
  }
}

void ProcessChannel::close() {
  for (int* end : {&in_, &out_}) {
    if (*end >= 0) ::close(*end);
    *end = -1;
  }
  buffer_.clear();
  searched_ = 0;
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  kill_marked(mark_.c_str());
}

bool ProcessChannel::take_line(std::string* line) {
  const size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();
    if (buffer_.size() > kMaxReply)
      throw PluginFault(PluginFaultKind::kGarbage, "a line of more than 64 MiB");
    return false;
  }
  *line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  searched_ = 0;
  return true;
}

// Its output is at an end: tells a crash from a goodbye.
void ProcessChannel::fail_ended() {
  const auto until = std::chrono::steady_clock::now() + kExitWait;
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(pid_, &status, WNOHANG)) == 0 &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (ended != pid_)
    throw PluginFault(PluginFaultKind::kClosed, "it closed its output and lives on");
  ::kill(-pid_, SIGKILL);  // what it started
  kill_marked(mark_.c_str());
  pid_ = -1;
  if (WIFSIGNALED(status)) {
    throw PluginFault(PluginFaultKind::kCrashed, std::string("killed by signal ") +
                                                     std::to_string(WTERMSIG(status)) + " (" +
                                                     ::strsignal(WTERMSIG(status)) + ")");
  }
  const int code = WEXITSTATUS(status);
  if (code != 0)
    throw PluginFault(PluginFaultKind::kCrashed, "ended with exit code " + std::to_string(code));
  throw PluginFault(PluginFaultKind::kClosed, "ended with exit code 0 without an answer");
}

bool ProcessChannel::exchange(std::string& line, double deadline) {
  for (;;) {
    const double left = deadline - steady_now();
    if (left <= 0) return false;
    pollfd fds[2] = {{out_, POLLIN, 0}, {in_, POLLOUT, 0}};
    const int ready = ::poll(fds, line.empty() ? 1 : 2, static_cast<int>(left * 1000) + 1);
    if (ready < 0 && errno != EINTR)
      throw PluginFault(PluginFaultKind::kUnreachable, error_text("poll"));
    if (ready <= 0) continue;
    if (!line.empty() && fds[1].revents != 0) {
      const ssize_t n = ::write(in_, line.data(), line.size());
      if (n > 0) line.erase(0, static_cast<size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) {
        // It does not read any more; an answer may still stand in its output.
        line.clear();
        if (fds[0].revents == 0) fail_ended();
      }
    }
    if (fds[0].revents == 0) continue;
    char bytes[1 << 16];
    const ssize_t n = ::read(out_, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) fail_ended();
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }
}

void ProcessChannel::call(const Json& request, double seconds, double grace,
                          const TakeReply& take) {
  const int64_t id = request.at("id").get<int64_t>();
  std::string unsent = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const double deadline = steady_now() + seconds;
  bool overdue = false;
  for (;;) {
    std::string text;
    while (!take_line(&text)) {
      if (exchange(unsent, overdue ? deadline + grace : deadline)) continue;
      if (overdue || grace <= 0) {
        char words[64];
        std::snprintf(words, sizeof words, "no answer within %.4g s", seconds);
        throw PluginFault(PluginFaultKind::kTimeout, words);
      }
      overdue = true;
    }
    Json reply;
    try {
      reply = parse_json(text, "answer");
    } catch (const std::exception&) {
      throw PluginFault(
          PluginFaultKind::kGarbage,
          "its output is no JSON (write messages to standard error): " + printable(text));
    }
    const auto given = reply.is_object() ? reply.find("id") : reply.end();
    if (!reply.is_object() || given == reply.end() || !given->is_number_integer() ||
        given->get<int64_t>() > id) {
      throw PluginFault(PluginFaultKind::kGarbage,
                        "an answer without the \"id\" of its request: " + printable(text));
    }
    if (given->get<int64_t>() < id) continue;  // of a request that was given up
    if (overdue) {
      char words[96];
      std::snprintf(words, sizeof words, "the answer came %.4g s after the deadline of %.4g s",
                    steady_now() - deadline, seconds);
      throw PluginFault(PluginFaultKind::kLate, words);
    }
    if (take(reply)) return;
  }
}

}  // namespace zeroth
