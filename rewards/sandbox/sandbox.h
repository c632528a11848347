// Runs one untrusted program in fresh namespaces and gives back what it wrote.
//
// Layers: its own user, pid, net, mount, ipc and uts namespaces; an unprivileged uid outside them
// (65534 when we are root, else our own); a root of tmpfs with the few folders of /usr that Python
// and g++ need, read-only and without what is mounted below them, no /etc, /home, /proc or /sys; no
// capabilities, no_new_privs and a seccomp filter; rlimits; a cgroup (v1 or v2)
// for the tree when one is writable; a cap on output; and a wall-clock kill of the whole tree (its
// pid 1 dies, and with it every process of the namespace).
//
// What it does not protect against: bugs of the kernel behind the system calls that Python needs,
// and timing channels.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace zeroth {

// A job never takes longer than so many times its limit, however overloaded the machine is.
inline constexpr double kMostPatience = 10;

struct SandboxLimits {
  // From the start of the program to SIGKILL of the tree. Time that the program was ready and
  // others kept it from a core does not count, where the kernel tells, up to nine times the limit:
  // a busy machine must not fail a right program. Beyond that there is no verdict.
  double wall_seconds = 3;
  // With stages (SandboxJob): more time for the first, and all of them together at most, counted
  // alike; 0: as many as there are.
  double start_seconds = 0;
  double total_seconds = 0;
  int64_t memory_bytes =
      512 << 20;       // address space of a process, and the tree's memory where a cgroup holds
  int processes = 64;  // processes and threads of the tree
  int64_t output_bytes = 1 << 20;    // of each captured stream; more ends the job
  int64_t scratch_bytes = 64 << 20;  // size of /tmp, which is the only writable folder
  int open_files = 128;
};

struct SandboxFile {
  std::string name;  // plain name, created in /tmp
  std::string content;
};

struct SandboxJob {
  std::vector<std::string> argv;  // argv[0] is an absolute path below /usr
  std::string input;              // standard input
  std::vector<SandboxFile> files;
  SandboxLimits limits;
  // A line of the report that starts with `stage_mark` begins another stage, with wall_seconds of
  // its own; `stages` of them at most. Only a process that the program cannot pose as may know the
  // mark.
  std::string stage_mark;
  int stages = 1;
  bool compile = false;  // g++ and its headers are there too
  // Further folders or files of the host that the program may read, absolute paths; what is not
  // there is left out. Python packages, for example: by default none is seen.
  std::vector<std::string> folders;
};

struct SandboxResult {
  enum class Status {
    kExited,          // ran to its end; see exit_code / signal
    kTimeout,         // wall clock
    kOutputLimit,     // wrote more than output_bytes on one stream
    kInfrastructure,  // the sandbox itself failed: no verdict about the program; see error
  };
  Status status = Status::kInfrastructure;
  int exit_code = -1;          // when exited
  int signal = 0;              // when killed by a signal (SIGKILL also for the memory limit)
  bool starved = false;        // timed out, but this process was stopped meanwhile: run it again
  bool out_of_memory = false;  // killed because it used more memory than its limit
  // Not empty: something happened on the machine that may have made a right program fail. Only a
  // program that passed has a verdict then.
  std::string disturbed;
  std::string report;         // what it wrote to descriptor 3, the private channel
  std::string out, err;       // standard output and error, cut at output_bytes
  std::string error;          // text for kInfrastructure
  double seconds = 0;         // wall clock, from its start until nothing of it was left
  double waited_seconds = 0;  // of these, granted because the program waited for a core
};

class Cgroup;

// Runs jobs one after another and keeps what they may share, a control group, between them. No two
// seats share one, so what one job uses never counts for another. Belongs to the process that made
// it, which should have a small address space (SandboxPool sees to that): a job starts as a copy of
// it. Not thread safe.
class SandboxSeat {
 public:
  // `lifeline`: a socket; when its other end is closed a running job ends at once. -1: none.
  explicit SandboxSeat(int lifeline = -1);
  ~SandboxSeat();
  SandboxSeat(const SandboxSeat&) = delete;
  SandboxSeat& operator=(const SandboxSeat&) = delete;
  SandboxResult run(const SandboxJob& job);  // to its end; blocks

 private:
  Cgroup& group_for(const SandboxLimits& limits);
  SandboxResult attempt(const SandboxJob& job);
  const int lifeline_;
  std::unique_ptr<Cgroup> group_;
};

// What holds on this machine.
struct SandboxProbe {
  struct Layer {
    std::string name;
    bool holds = false;
    bool required = false;
    std::string detail;
  };
  std::vector<Layer> layers;
  std::string python;  // interpreter that jobs use, empty when none is below /usr
  bool sufficient() const;
  std::string text() const;  // one line a layer
};

// Tries every layer by running small jobs, once per process. Thread safe.
const SandboxProbe& probe_sandbox();

}  // namespace zeroth
