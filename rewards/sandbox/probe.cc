#include <unistd.h>

#include <cstdlib>

#include "rewards/sandbox/cgroup.h"
#include "rewards/sandbox/process_tree.h"
#include "rewards/sandbox/sandbox.h"
#include "rewards/sandbox/sandbox_pool.h"
#include "rewards/sandbox/system_folders.h"

namespace zeroth {
namespace {

// One job that tries what must not work, and says what it found.
constexpr const char* kProbeScript = R"(
import os, sys
def refused(f):
    try:
        f()
    except BaseException:
        return 1
    return 0
# /usr holds the folders that were given, what leads to them, and nothing else.
given = [path for path in sys.stdin.read().split('\n') if path]
def stranger(folder):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if path in given or os.path.islink(path):
            continue
        if not any(g.startswith(path + '/') for g in given) or stranger(path):
            return 1
    return 0
def write_given():
    for path in given:
        try:
            open(os.path.join(path, 'zeroth') if os.path.isdir(path) else path, 'w')
            return
        except OSError:
            pass
    raise OSError
def userns():
    import ctypes
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError
def network():
    import socket
    s = socket.socket()
    s.settimeout(0.2)
    s.connect(('127.0.0.1', 22))
# Memory that nobody outside could count; refused where no control group counts it.
def shared_memory():
    import mmap
    mmap.mmap(-1, 4096)
def datagrams():
    import socket
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
def buffers():
    import socket
    socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
def fork_many():
    n = 0
    try:
        for i in range(200):
            if os.fork() == 0:
                import time
                time.sleep(5)
                os._exit(0)
            n += 1
    except OSError:
        raise
found = [
    ('namespaces', os.getppid() == 1),
    ('user', os.getuid() == 1000),
    ('filesystem', sorted(os.listdir('/')) and not os.path.exists('/etc') and not os.path.exists('/home') and not os.path.exists('/root')),
    ('folders', given and not stranger('/usr')),
    ('readonly', refused(lambda: open('/usr/zeroth', 'w')) and refused(write_given)),
    ('scratch', not refused(lambda: open('/tmp/x', 'w').write('x'))),
    ('network', refused(network)),
    ('seccomp', refused(userns)),
    ('uncounted', refused(shared_memory) and refused(datagrams) and refused(buffers) and not os.path.exists('/dev/zero')),
    ('memory', refused(lambda: bytearray(1 << 30))),
    ('processes', refused(fork_many)),
]
os.write(3, ' '.join('%s=%d' % (k, bool(v)) for k, v in found).encode())
)";

SandboxResult run_script(const std::string& python) {
  SandboxResult result;
  if (python.empty()) {
    result.error = "no python3 below /usr";
    return result;
  }
  SandboxJob job;
  job.argv = {python, "-I", "-S", "-c", kProbeScript};
  job.limits.wall_seconds = 60;
  for (const sandbox_detail::Bind& bind : sandbox_detail::plan_root(false, {}).binds)
    job.input += bind.from + "\n";
  SandboxPool pool(1);  // not here: a killed trainer must leave no control group
  return pool.run({job})[0];
}

// What no program has to try.
void add_machine(SandboxProbe& probe) {
  const auto add = [&](const char* name, bool there, const std::string& detail) {
    probe.layers.push_back({name, there, false, detail});
  };
  const std::string group = Cgroup::available();
  add("control group", !group.empty(),
      group.empty() ? "none is writable here, so memory is watched; zeroth check code tells more"
                    : group + ", one for each program");
  add("waiting for a core is not counted",
      std::atoll(sandbox_detail::proc_text("/proc/self/schedstat").c_str()) > 0,
      "/proc/PID/schedstat");
  const bool told =
      sandbox_detail::proc_text("/proc/vmstat").find("\noom_kill ") != std::string::npos;
  add("kills for the memory of others are no verdict", Cgroup::available_memory() || told,
      Cgroup::available_memory() ? "told by the control group" : "told by /proc/vmstat");
}

SandboxProbe run_probe() {
  SandboxProbe probe;
  probe.python = sandbox_detail::system_folders().python;
  const SandboxResult result = run_script(probe.python);
  const bool ran = result.status == SandboxResult::Status::kExited && !result.report.empty();
  const std::string why = ran ? "" : result.error + result.err.substr(0, 200);
  const auto layer = [&](const char* name, const std::string& key, const char* detail) {
    const bool holds = ran && result.report.find(key + "=1") != std::string::npos;
    probe.layers.push_back({name, holds, true, ran ? detail : why});
  };
  const bool root = ::geteuid() == 0;
  layer("namespaces", "namespaces", "user, pid, net, mount, ipc and uts of its own");
  layer("unprivileged user", "user",
        root ? "another outside for each worker, uid 61184 to 65519" : "our own uid outside");
  layer("file system", "filesystem", "tmpfs root, no /etc, /home, /proc, /sys");
  layer("folders of /usr", "folders", "only those of Python, C libraries and /usr/bin");
  layer("read-only", "readonly", "and without what is mounted below them");
  layer("scratch folder", "scratch", "/tmp, size and file count limited");
  layer("no network", "network", "");
  layer("seccomp", "seccomp", "no new namespaces, ptrace, bpf, io_uring, keyring, mounts");
  layer("memory of a process", "memory", "address space");
  if (Cgroup::available_memory()) {
    layer("memory of a program", "namespaces", "control group: kernel memory and swap, too");
  } else {
    layer("memory of a program", "uncounted",
          "watched: pages, page tables, scratch files, sockets, many mappings; shared anonymous "
          "memory, datagram sockets and larger buffers are refused; not bounded: other kernel "
          "objects, and what is filled between two looks, 2 to 20 ms apart on a machine with time");
  }
  layer("process limit", "processes", "");
  add_machine(probe);
  return probe;
}

}  // namespace

bool SandboxProbe::sufficient() const {
  if (python.empty()) return false;
  for (const Layer& layer : layers) {
    if (layer.required && !layer.holds) return false;
  }
  return true;
}

std::string SandboxProbe::text() const {
  std::string text;
  for (const Layer& layer : layers) {
    text += std::string("  ") +
            (layer.holds      ? "holds   "
             : layer.required ? "MISSING "
                              : "absent  ") +
            layer.name + (layer.detail.empty() ? "" : " (" + layer.detail + ")") + "\n";
  }
  return text;
}

const SandboxProbe& probe_sandbox() {
  static const SandboxProbe probe = run_probe();
  return probe;
}

}  // namespace zeroth
