// Which system calls a submission may not make. Everything that reaches for new privileges, other
// processes, kernel interfaces with a history of holes, or new namespaces is refused; what CPython
// and g++ need stays.
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "rewards/sandbox/sandbox_child.h"

namespace zeroth::sandbox_detail {
namespace {

// Linux 6.8, newer than libseccomp 2.5; the same number on all architectures.
constexpr int kStatMount = 457, kListMount = 458;

constexpr int kRefused[] = {
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare),
    SCMP_SYS(setns), SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr),
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd), SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(keyctl), SCMP_SYS(add_key),
    SCMP_SYS(request_key), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module),
    SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at), SCMP_SYS(quotactl), SCMP_SYS(swapon), SCMP_SYS(swapoff),
    SCMP_SYS(reboot), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(acct),
    SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime),
    SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(personality), SCMP_SYS(syslog), SCMP_SYS(vhangup),
    SCMP_SYS(lookup_dcookie), SCMP_SYS(fanotify_init), SCMP_SYS(mbind), SCMP_SYS(set_mempolicy),
    SCMP_SYS(migrate_pages), SCMP_SYS(move_pages), SCMP_SYS(nfsservctl), SCMP_SYS(mknod),
    SCMP_SYS(mknodat), SCMP_SYS(seccomp), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
    // Memory that no limit of a process counts.
    SCMP_SYS(memfd_create), SCMP_SYS(memfd_secret), SCMP_SYS(shmget), SCMP_SYS(msgget),
    SCMP_SYS(semget), SCMP_SYS(mq_open), SCMP_SYS(remap_file_pages), SCMP_SYS(vmsplice),
    SCMP_SYS(modify_ldt),
    // The watcher goes first; see run_child.
    SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setparam), SCMP_SYS(sched_setattr),
    // What others do in the folders that are seen, and where those come from.
    SCMP_SYS(inotify_init), SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch), kStatMount,
    kListMount};

using Rule = scmp_arg_cmp;

int refuse(scmp_filter_ctx context, int error, int call, const std::vector<Rule>& rules) {
  return seccomp_rule_add_array(context, SCMP_ACT_ERRNO(error), call,
                                static_cast<unsigned>(rules.size()), rules.data());
}

int refuse_uncounted(scmp_filter_ctx context) {
  constexpr uint64_t kSharedAnonymous = MAP_SHARED | MAP_ANONYMOUS;
  int status = refuse(context, ENOMEM, SCMP_SYS(mmap),
                      {SCMP_A3(SCMP_CMP_MASKED_EQ, kSharedAnonymous, kSharedAnonymous)});
  status |= refuse(context, ENOMEM, SCMP_SYS(mmap),
                   {SCMP_A3(SCMP_CMP_MASKED_EQ, uint64_t{MAP_HUGETLB}, uint64_t{MAP_HUGETLB})});
  // Socket buffers of up to wmem_max each.
  for (const uint64_t option : {SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE}) {
    status |= refuse(context, EPERM, SCMP_SYS(setsockopt),
                     {SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, SOL_SOCKET),
                      SCMP_A2(SCMP_CMP_MASKED_EQ, 0xffffffffu, option)});
  }
  for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)}) {
    // A closed datagram socket leaves its messages with the receiver, which is one socket only.
    for (const uint64_t type : {SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET}) {
      status |= refuse(context, EACCES, call,
                       {SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, AF_UNIX),
                        SCMP_A1(SCMP_CMP_MASKED_EQ, 0xfu, type)});
    }
  }
  return status;
}

std::vector<sock_filter> build(bool count_memory) {
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
  if (context == nullptr) fail("cannot build the seccomp filter", "is libseccomp 2.5 installed?");
  int status = 0;
  for (int call : kRefused) {
    const int code = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), call, 0);
    if (code != 0 && code != -EDOM && code != -EFAULT)
      status |= code;  // a call unknown to this kernel's table is no hole
  }
  // Threads and forks are fine, new namespaces are not. clone3 hides its flags in memory: answer
  // ENOSYS, so that libc falls back to clone.
  constexpr uint64_t kNamespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                                   CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  for (uint64_t bit = 1; bit <= kNamespaces; bit <<= 1) {
    if (kNamespaces & bit) {
      status |= seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
    }
  }
  status |= seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  // Sockets of the families that a network namespace does not hold apart (vsock reaches the host of
  // a virtual machine) or that are kernel interfaces (netlink, alg, packet) are refused.
  for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)}) {
    status |= seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1,
                               SCMP_A0(SCMP_CMP_GT, static_cast<uint64_t>(AF_INET6), 0));
    for (uint64_t family = AF_INET + 1; family < AF_INET6; ++family) {
      status |= seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1,
                                 SCMP_A0(SCMP_CMP_EQ, family, 0));
    }
  }
  // The terminal of whoever started us must not be typed into (CVE-2017-5226).
  status |= seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0x5412u));
  if (count_memory) status |= refuse_uncounted(context);
  const int file = ::memfd_create("seccomp", MFD_CLOEXEC);
  if (status != 0 || file < 0 || seccomp_export_bpf(context, file) != 0) {
    seccomp_release(context);
    if (file >= 0) ::close(file);
    fail("cannot build the seccomp filter",
         "is libseccomp 2.5 installed and the kernel built with seccomp filters?");
  }
  seccomp_release(context);
  std::vector<sock_filter> program(static_cast<size_t>(::lseek(file, 0, SEEK_END)) /
                                   sizeof(sock_filter));
  ::lseek(file, 0, SEEK_SET);
  const ssize_t bytes = static_cast<ssize_t>(program.size() * sizeof(sock_filter));
  const ssize_t got = ::read(file, program.data(), static_cast<size_t>(bytes));
  ::close(file);
  if (got != bytes || bytes == 0) fail("cannot read the seccomp filter back", "");
  return program;
}

}  // namespace

const sock_fprog& seccomp_program(bool count_memory) {
  struct Program {
    explicit Program(bool count) : filter(build(count)) {
      view = {static_cast<unsigned short>(filter.size()), filter.data()};
    }
    std::vector<sock_filter> filter;
    sock_fprog view{};
  };
  if (count_memory) {
    static const Program program(true);
    return program.view;
  }
  static const Program program(false);
  return program.view;
}

}  // namespace zeroth::sandbox_detail
