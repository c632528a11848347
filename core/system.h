// What an operating system gives beyond POSIX. system_linux.cc and rewards/sandbox/ are the only
// places that call Linux (scripts/check-layers holds the sources against it); system_macos.cc is
// prepared and untried. Functions of one system answer "not known" on another. Thread safe, none
// blocks.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace zeroth::system {

// The program ------------------------------------------------------------------------------------

// The file of the running program, links followed; empty when the system does not tell.
std::filesystem::path program_file();
// Where its bytes can be read, also after the file was replaced.
std::filesystem::path program_image();
// Replaces this process by its own program anew. Returns only when that failed, with errno. May be
// called between fork and exec.
void run_program_anew(char* const* argv);

// The machine ------------------------------------------------------------------------------------

struct MemoryUse {
  double now_mb = -1, peak_mb = -1;  // MiB in memory; -1: not known
};
MemoryUse own_memory();
// The peak counts from now on; without effect where the system has no such thing.
void reset_peak_memory();
// MiB that programs can have without swapping; -1: not known.
double free_memory_mb();
// Asks for large pages under whole `large_page`s of the range, which begins at one. A wish.
void ask_for_large_pages(void* memory, size_t bytes, size_t large_page);
// Cores that this process may run on; 0: not known.
int usable_cores();
// Bytes of the last cache before memory, as much of it as this machine sees; 0: not known.
int64_t last_cache_bytes();
// A count that rises by what the processors use; nothing where the machine does not say.
std::optional<double> joules();
// False when the system has no random bytes.
bool fill_random(std::span<std::byte> to);

// Files ------------------------------------------------------------------------------------------

// A file without a name in `folder`, gone when it is closed, also by a crash; -1: not to be had.
int open_unnamed_file(const std::filesystem::path& folder);
// Whether a process, this one or another, holds flock(2) on the file.
bool is_flocked(const std::filesystem::path& file);

// Descriptors, all closed by exec ----------------------------------------------------------------

bool open_pipe(int ends[2]);  // false with errno
// Closes all from `first` on. May be called between fork and exec.
void close_from(int first);
int stream_socket(int family, bool blocking);  // -1 with errno
int accept_stream(int listener);               // not blocking; -1 with errno
// send(2) without the signal that a closed connection would raise.
ssize_t send_quietly(int socket, const void* data, size_t bytes);

// Processes --------------------------------------------------------------------------------------

// This process gets `signal` when the one that started it ends. May be called between fork and
// exec. Where the system has no such thing the child outlives its parent.
void end_with_parent(int signal);
void set_process_name(const char* name);
// What loses its parent below this process becomes this process's child. False: no such thing.
bool adopt_orphans();
// (process, parent) of all processes that can be seen.
std::vector<std::pair<pid_t, pid_t>> parents();
// One look at all processes: kills those with a variable of the environment that begins with
// `start`, but for this one and those of other users. A process amid exec is waited for. True when
// something was killed. Allocates nothing on Linux: may be called between fork and exec there.
bool kill_by_variable(const char* start);

// The memory of neighbours -----------------------------------------------------------------------

// The same for processes of one machine that see each other's numbers, another one elsewhere and
// after a boot; 0: not known, so none is a neighbour.
uint64_t machine_mark();
// Lets other children of this process's parent read its memory.
void let_siblings_read();
// Fills `to` from `address` on in the memory of the process. False when it is gone, or has nothing
// there, or may not be read.
bool read_memory(pid_t process, uint64_t address, std::span<std::byte> to);

}  // namespace zeroth::system
