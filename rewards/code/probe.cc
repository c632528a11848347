#include <unistd.h>

#include "rewards/code/cgroup.h"
#include "rewards/code/sandbox.h"
#include "rewards/code/sandbox_pool.h"
#include "rewards/code/system_folders.h"

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
    ('memory', refused(lambda: bytearray(1 << 30))),
    ('processes', refused(fork_many)),
]
os.write(3, ' '.join('%s=%d' % (k, bool(v)) for k, v in found).encode())
)";

SandboxProbe run_probe() {
  SandboxProbe probe;
  probe.python = sandbox_detail::system_folders().python;
  SandboxResult result;
  if (probe.python.empty()) {
    result.error = "no python3 below /usr";
  } else {
    SandboxJob job;
    job.argv = {probe.python, "-I", "-S", "-c", kProbeScript};
    job.limits.wall_seconds = 10;
    for (const sandbox_detail::Bind& bind : sandbox_detail::plan_root(false, {}).binds)
      job.input += bind.from + "\n";
    SandboxPool pool(1);  // not here: a killed trainer must leave no control group
    result = pool.run({job})[0];
  }
  const auto holds = [&](const std::string& name) {
    return result.report.find(name + "=1") != std::string::npos;
  };
  const bool ran = result.status == SandboxResult::Status::kExited && !result.report.empty();
  const std::string why = ran ? "" : result.error + result.err.substr(0, 200);
  const auto layer = [&](const char* name, const char* key, const char* detail) {
    probe.layers.push_back({name, ran && holds(key), true, ran ? detail : why});
  };
  layer("namespaces", "namespaces", "user, pid, net, mount, ipc and uts of its own");
  layer("unprivileged user", "user",
        ::geteuid() == 0 ? "uid 65534 outside" : "our own uid outside");
  layer("file system", "filesystem", "tmpfs root, no /etc, /home, /proc, /sys");
  layer("folders of /usr", "folders", "only those of Python, C libraries and /usr/bin");
  layer("read-only", "readonly", "and without what is mounted below them");
  layer("scratch folder", "scratch", "/tmp, size and file count limited");
  layer("no network", "network", "");
  layer("seccomp", "seccomp", "no new namespaces, ptrace, bpf, io_uring, keyring, mounts");
  layer("memory limit", "memory", "address space per process");
  layer("process limit", "processes", "");
  const std::string cgroup = Cgroup::available();
  probe.layers.push_back(
      {"cgroup", !cgroup.empty(), false,
       cgroup.empty() ? "none writable: the memory of a tree is watched instead" : cgroup});
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
