// Bytes between the ranks of a job.
#pragma once

#include <cstddef>
#include <span>

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
  // Ends a running exchange() and all later ones. From any thread.
  virtual void abort() noexcept = 0;
};

}  // namespace zeroth
