// The file system of a sandboxed program: a tmpfs with read-only views of a few folders of the
// host. Runs between clone and exec: no C++ allocation.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "rewards/sandbox/sandbox_child.h"

namespace zeroth::sandbox_detail {
namespace {

// mount_setattr(2), Linux 5.12; older C libraries do not declare it.
constexpr long kMountSetattr = 442;
struct MountAttributes {
  uint64_t set = 0, clear = 0, propagation = 0, userns_fd = 0;
};
constexpr uint64_t kReadOnly = 1, kNoSuid = 2, kNoDev = 4;  // MOUNT_ATTR_*
constexpr unsigned kRecursive = 0x8000;                     // AT_RECURSIVE

// Kernels before 5.12 change one mount at a time. Flags that the host's mount carries are locked in
// our namespace and must be repeated.
bool remount_read_only(const char* path) {
  struct statvfs info;
  unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (::statvfs(path, &info) == 0) {
    if (info.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
    if (info.f_flag & ST_NOATIME) flags |= MS_NOATIME;
    if (info.f_flag & ST_RELATIME) flags |= MS_RELATIME;
    if (info.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
  }
  return ::mount(nullptr, path, nullptr, flags, nullptr) == 0;
}

// The bind has to take along what is mounted below `from`: those mounts are locked to it. They
// become read-only here and are covered by cover_mounts.
bool bind_read_only(const char* from, const char* to) {
  if (::mount(from, to, nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  MountAttributes attributes;
  attributes.set = kReadOnly | kNoSuid | kNoDev;
  if (::syscall(kMountSetattr, AT_FDCWD, to, kRecursive, &attributes, sizeof(attributes)) == 0)
    return true;
  return errno == ENOSYS && remount_read_only(to);
}

// Mount points of this namespace, one a call, from /proc/self/mountinfo.
class MountPoints {
 public:
  explicit MountPoints(const ChildPlan& plan) : plan_(plan) {
    fd_ = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    check(plan, fd_ >= 0, "read the mounts");
  }
  ~MountPoints() { ::close(fd_); }
  MountPoints(const MountPoints&) = delete;
  MountPoints& operator=(const MountPoints&) = delete;

  // The fifth field of the next line, with its escapes (\040 for a blank) undone; null at the end.
  const char* next() {
    int field = 1;
    size_t size = 0;
    for (int c; (c = get()) >= 0;) {
      if (c == '\n') {
        path_[size] = 0;
        return path_;
      }
      if (c == ' ') ++field;
      if (field != 5 || c == ' ') continue;
      if (c == '\\') c = octal();
      if (size + 1 == sizeof(path_)) {
        errno = ENAMETOOLONG;
        give_up(plan_, "read the mounts");
      }
      path_[size++] = static_cast<char>(c);
    }
    return nullptr;
  }

 private:
  int octal() {
    int value = 0;
    for (int digit = 0; digit < 3; ++digit) value = value * 8 + get() - '0';
    return value;
  }
  int get() {
    if (at_ == filled_) {
      const ssize_t n = ::read(fd_, buffer_, sizeof(buffer_));
      check(plan_, n >= 0, "read the mounts");
      at_ = 0;
      filled_ = static_cast<size_t>(n);
      if (n == 0) return -1;
    }
    return static_cast<unsigned char>(buffer_[at_++]);
  }
  const ChildPlan& plan_;
  int fd_ = -1;
  char buffer_[1 << 14];
  size_t at_ = 0, filled_ = 0;
  char path_[PATH_MAX];
};

// Whether a mount point, relative to the new root, lies strictly below a bound folder.
bool below_a_bind(const RootPlan& root, const char* path) {
  for (const Bind& bind : root.binds) {
    const size_t size = bind.to.size();
    if (std::strncmp(path, bind.to.c_str(), size) == 0 && path[size] == '/') return true;
  }
  return false;
}

bool make_file(const char* path) {
  const int fd = ::open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

// Puts an empty folder or file, read-only, over mount points. What was covered is listed as a
// mount, too, and known again by its device: that of the new root.
class Cover {
 public:
  explicit Cover(const ChildPlan& plan) : plan_(plan) {
    struct stat info;
    check(plan, ::stat(".", &info) == 0, "look at the new root");
    device_ = info.st_dev;
  }
  ~Cover() {
    if (made_) check(plan_, ::rmdir(kFolder) == 0 && ::unlink(kFile) == 0, "remove the covers");
  }
  Cover(const Cover&) = delete;
  Cover& operator=(const Cover&) = delete;

  void put_over(const char* path) {
    struct stat info;
    if (::stat(path, &info) == 0 && info.st_dev == device_) return;
    if (!made_)
      check(plan_, ::mkdir(kFolder, 0555) == 0 && make_file(kFile), "make what covers mounts");
    made_ = true;
    if (bind_read_only(kFolder, path)) return;
    // Below a mount that was covered before, or in a folder that this user may not enter.
    if (errno == ENOENT || (errno == EACCES && ::access(path, F_OK) != 0)) return;
    check(plan_, errno == ENOTDIR && bind_read_only(kFile, path), "cover a mount below /usr");
  }

 private:
  static constexpr const char *kFolder = "empty", *kFile = "empty_file";
  const ChildPlan& plan_;
  bool made_ = false;
  dev_t device_ = 0;
};

// What is mounted below a bound folder belongs to somebody else and is covered. The current folder
// is the new root.
void cover_mounts(const ChildPlan& plan) {
  char root[PATH_MAX];
  check(plan, ::getcwd(root, sizeof(root) - 1) != nullptr, "name the new root");
  const size_t size = std::strlen(std::strcat(root, "/"));
  MountPoints points(plan);
  Cover cover(plan);
  while (const char* path = points.next()) {
    if (std::strncmp(path, root, size) == 0 && below_a_bind(*plan.root, path + size))
      cover.put_over(path);
  }
}

void bind_folders(const ChildPlan& plan) {
  for (const std::string& folder : plan.root->folders)
    check(plan, ::mkdir(folder.c_str(), 0755) == 0, "make a folder of the new root");
  for (const Bind& bind : plan.root->binds) {
    if (bind.file) check(plan, make_file(bind.to.c_str()), "make a file of the new root");
    check(plan, bind_read_only(bind.from.c_str(), bind.to.c_str()), "bind a folder of /usr");
  }
  for (const auto& [name, target] : plan.root->links)
    check(plan, ::symlink(target.c_str(), name.c_str()) == 0, "link /lib");
  cover_mounts(plan);
}

void bind_devices(const ChildPlan& plan) {
  check(plan, ::mkdir("dev", 0755) == 0, "make /dev");
  for (const char* name : {"null", "urandom", "random", "zero"}) {
    if (plan.count_memory && std::strcmp(name, "zero") == 0) continue;
    char from[32], to[32];
    std::snprintf(from, sizeof(from), "/dev/%s", name);
    std::snprintf(to, sizeof(to), "dev/%s", name);
    check(plan, make_file(to), "make a device file");
    check(plan, ::mount(from, to, nullptr, MS_BIND, nullptr) == 0, "bind a device");
  }
}

}  // namespace

void build_root(const ChildPlan& plan) {
  check(plan, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0,
        "make mounts private");
  // Built on /tmp, which then becomes /.
  check(plan, ::mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "size=1m,nr_inodes=256,mode=755") == 0,
        "mount the new root");
  check(plan, ::chdir("/tmp") == 0, "enter the new root");
  bind_folders(plan);
  bind_devices(plan);
  char options[96];
  std::snprintf(options, sizeof(options), "size=%lld,nr_inodes=4096,mode=777",
                static_cast<long long>(plan.job->limits.scratch_bytes));
  check(plan, ::mkdir("tmp", 0777) == 0, "make /tmp");
  check(plan, ::mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) == 0,
        "mount the scratch folder");
  // Leaves no path to the host's tree: the old root is stacked below the new one and detached.
  check(plan, ::syscall(SYS_pivot_root, ".", ".") == 0, "change the root");
  check(plan, ::umount2(".", MNT_DETACH) == 0, "detach the old root");
  check(plan,
        ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, nullptr) == 0,
        "make the root read-only");
  check(plan, ::chdir("/tmp") == 0, "enter the scratch folder");
}

}  // namespace zeroth::sandbox_detail
