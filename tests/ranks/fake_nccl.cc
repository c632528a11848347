// NCCL and the CUDA driver as ranks/nccl_transport.cc uses them, for ranks that are threads of one
// process: what a GPU would do happens when its stream is looked at. Addresses of the device are no
// addresses of the host, so that memory of the wrong side crashes.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ranks/nccl_abi.h"

namespace {

using zeroth::cuda_abi::Address;
using zeroth::nccl_abi::UniqueId;

constexpr Address kFar = Address{1} << 60;
constexpr int kNotReady = 600, kOutOfMemory = 2, kInvalid = 4;

char* near(Address at) { return reinterpret_cast<char*>(at - kFar); }
Address far(const void* at) { return reinterpret_cast<Address>(at); }

struct Comm {
  std::string id;
  int rank, ranks;
};
using Pair = std::pair<int, int>;  // from, to
std::mutex mutex;                  // guards what follows
std::map<std::string, std::map<Pair, std::deque<std::string>>> boxes;
int ids = 0;

// A copy that waits for its message, or adds it up.
struct Wanted {
  Comm* comm;
  int from;
  char* to;
  size_t bytes;
  bool add;
};
struct Stream {
  std::deque<Wanted> wanted;
};
thread_local int depth = 0;

// Messages that have come. Under the mutex. False while one is missing.
bool advance(Stream& stream) {
  while (!stream.wanted.empty()) {
    const Wanted& next = stream.wanted.front();
    auto& box = boxes[next.comm->id][{next.from, next.comm->rank}];
    if (box.empty()) return false;
    if (box.front().size() != next.bytes) std::abort();  // both sides know the lengths
    if (next.add) {
      std::vector<float> sum(next.bytes / 4), one(next.bytes / 4);
      std::memcpy(sum.data(), next.to, next.bytes);
      std::memcpy(one.data(), box.front().data(), next.bytes);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
      std::memcpy(next.to, sum.data(), next.bytes);
    } else {
      std::memcpy(next.to, box.front().data(), next.bytes);
    }
    box.pop_front();
    stream.wanted.pop_front();
  }
  return true;
}

// What NCCL finds while nothing arrives any more.
int fault() {
  const char* code = std::getenv("FAKE_FAULT");
  return code != nullptr ? std::atoi(code) : 0;
}

void post(Comm* comm, int to, const void* at, size_t bytes) {
  boxes[comm->id][{comm->rank, to}].emplace_back(near(far(at)), bytes);
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) { return *version = 22707, 0; }
int ncclGetUniqueId(UniqueId* id) {
  const std::lock_guard lock(mutex);
  std::memset(id, 7, sizeof *id);
  std::memcpy(id->bytes, &++ids, sizeof ids);
  return 0;
}
int ncclCommInitRank(void** comm, int ranks, UniqueId id, int rank) {
  *comm = new Comm{{id.bytes, sizeof id.bytes}, rank, ranks};
  return 0;
}
int ncclCommDestroy(void* comm) { return delete static_cast<Comm*>(comm), 0; }
int ncclCommAbort(void* comm) { return ncclCommDestroy(comm); }
int ncclCommGetAsyncError(void*, int* error) { return *error = fault(), 0; }
const char* ncclGetErrorString(int) { return "a fault of the fake"; }
int ncclGroupStart() { return ++depth, 0; }
int ncclGroupEnd() { return depth-- > 0 ? 0 : kInvalid; }

int ncclSend(const void* at, size_t count, int type, int to, void* comm, void*) {
  if (type != 0 || depth != 1) return kInvalid;
  const std::lock_guard lock(mutex);
  post(static_cast<Comm*>(comm), to, at, count);
  return 0;
}
int ncclRecv(void* at, size_t count, int type, int from, void* comm, void* stream) {
  if (type != 0 || depth != 1) return kInvalid;
  const std::lock_guard lock(mutex);
  static_cast<Stream*>(stream)->wanted.push_back(
      {static_cast<Comm*>(comm), from, near(far(at)), count, false});
  return 0;
}
int ncclAllReduce(const void* in, void* out, size_t count, int type, int op, void* comm,
                  void* stream) {
  if (in != out || type != 7 || op != 0) return kInvalid;
  auto* own = static_cast<Comm*>(comm);
  const std::lock_guard lock(mutex);
  for (int r = 0; r < own->ranks; ++r) {
    if (r == own->rank) continue;
    post(own, r, in, count * 4);
    static_cast<Stream*>(stream)->wanted.push_back({own, r, near(far(out)), count * 4, true});
  }
  return 0;
}

int cuInit(unsigned) { return 0; }
int cuDeviceGetCount(int* count) {
  const char* gpus = std::getenv("FAKE_GPUS");
  return *count = gpus != nullptr ? std::atoi(gpus) : 8, 0;
}
int cuDeviceGet(int* device, int number) { return *device = number, 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = reinterpret_cast<void*>(static_cast<Address>(device) + 1);
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void* context) { return context != nullptr ? 0 : kInvalid; }
int cuMemAlloc_v2(Address* at, size_t bytes) {
  if (bytes > (size_t{128} << 20)) return kOutOfMemory;
  *at = far(std::malloc(bytes)) + kFar;
  return 0;
}
int cuMemFree_v2(Address at) { return std::free(near(at)), 0; }
int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void*) {
  return std::memcpy(near(to), from, bytes), 0;
}
int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
  const std::lock_guard lock(mutex);
  if (!static_cast<Stream*>(stream)->wanted.empty()) std::abort();  // not there yet
  return std::memcpy(to, near(from), bytes), 0;
}
int cuStreamCreate(void** stream, unsigned) { return *stream = new Stream, 0; }
int cuStreamDestroy_v2(void* stream) { return delete static_cast<Stream*>(stream), 0; }
int cuStreamQuery(void* stream) {
  const std::lock_guard lock(mutex);
  return fault() == 0 && advance(*static_cast<Stream*>(stream)) ? 0 : kNotReady;
}
int cuGetErrorString(int code, const char** text) {
  *text = code == kOutOfMemory ? "out of memory" : "a fault of the fake";
  return 0;
}
}
