// Bytes between the ranks of a job.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ranks/launch.h"
#include "ranks/rendezvous.h"

namespace zeroth {

struct Outgoing {
  int to = 0;
  std::span<const std::byte> bytes;
};
struct Incoming {
  int from = 0;
  std::span<std::byte> bytes;  // filled; as long as what is sent
};

// One thread at a time, but for abort().
class Transport {
 public:
  virtual ~Transport() = default;
  // Sends and receives all of them at once and returns when everything is through. Every rank makes
  // the same calls in the same order; between two ranks the messages of a call are matched in order
  // and have the same lengths on both sides; those of no bytes are not sent. Blocks for as long as
  // the others take. Throws Error when a connection breaks, and after abort().
  virtual void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) = 0;

  // Messages that are under way while the caller computes. begin() starts them and returns at once;
  // what is sent stays as it is, and what is received is left alone, until finish() of its ticket
  // has returned. They are matched apart from those of exchange(): between two ranks in the order
  // in which they were begun, in whatever calls, so a rank may begin to receive long before the
  // other one begins to send. A rank waits in finish() only when it has begun all that the others
  // wait for. What begin() takes it keeps no reference to but the bytes. Throw as exchange() does.
  using Ticket = uint64_t;
  virtual Ticket begin(std::span<const Outgoing> out, std::span<const Incoming> in) = 0;
  virtual void finish(Ticket ticket) = 0;
  // Gives up whatever was begun: its bytes are the caller's again. Every later call throws.
  virtual void cancel() noexcept = 0;

  // The engine's own sum over ranks, in place. Its order of additions, and so the last bits, follow
  // the number of ranks: zeroth bench measures it beside the tree, a run never calls it. abort()
  // need not end it.
  virtual void sum(std::span<float> values) = 0;
  // Ends a running exchange() and all later ones. From any thread.
  virtual void abort() noexcept = 0;
};

// The engines. All ranks make theirs at once; blocks until they are connected. Each throws Error
// when it is not to be had here. The rendezvous outlives what they return.
// gloo (github.com/facebookincubator/gloo): TCP, one connection a pair of ranks. In builds that
// found it. `direct`: what begin() sends to a rank of this machine that one reads from this process's
// memory, where the system allows it.
std::unique_ptr<Transport> make_gloo_transport(const Launch& launch, Rendezvous& rendezvous,
                                               double timeout_s, bool direct);
bool has_gloo();  // whether this build did
// Open MPI, loaded when it is asked for; the process must have been started by mpirun, or by srun
// --mpi=pmix. Once a process. All calls of MPI are made by one thread of the transport's.
std::unique_ptr<Transport> make_mpi_transport(const Launch& launch, Rendezvous& rendezvous);

// The version of the Open MPI that make_mpi_transport() would load. Throws Error when there is none.
std::string mpi_version();

// NCCL (github.com/NVIDIA/nccl) 2.7 or later, loaded when it is asked for: the environment's
// ZEROTH_NCCL, else libnccl.so.2. One GPU of this machine a rank, in the order of ranks, and at
// most 128 MiB of its memory. Messages are the host's: they pass through the GPU's memory. NCCL
// matches all messages of two ranks in one order, so those of begin() move in finish(), all at once.
std::unique_ptr<Transport> make_nccl_transport(const Launch& launch, Rendezvous& rendezvous);
// The NCCL that would be loaded. Makes an id of a job, which needs no GPU. Throws Error when there
// is none.
struct NcclReport {
  std::string version;  // "2.27.7"
  std::string id;       // 128 bytes, new in every call
};
NcclReport nccl_report();
// GPUs that the CUDA driver shows to this process. Throws Error where there is no driver.
int gpu_count();

// Throws the Error of an exchange that cannot go on: which rank is to blame, as the rendezvous
// learns a moment later, else `what` and `detail`.
[[noreturn]] void end_exchange(const Rendezvous& rendezvous, const std::string& what,
                               const std::string& detail);

}  // namespace zeroth
