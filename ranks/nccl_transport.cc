// NCCL (github.com/NVIDIA/nccl) as an engine. NCCL and the CUDA driver are loaded at run time and
// declared in ranks/nccl_abi.h, so that one binary runs with and without them;
// tests/ranks/nccl_test.cc holds the declarations against nccl.h and cuda.h where these are.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/host_name.h"
#include "ranks/nccl_abi.h"
#include "ranks/shared_library.h"
#include "ranks/transport.h"

namespace zeroth {
namespace {

// Of a rank's GPU, for what it sends and what it receives each.
constexpr size_t kStaged = size_t{64} << 20;
// So often a call that waits looks without sleeping: some tenths of a millisecond.
constexpr int kBusyTurns = 2000;
constexpr char kFix[] = "use ranks.engine=gloo, which needs no GPU";

std::string files_of(const char* variable, const char* files) {
  const char* given = std::getenv(variable);
  return given != nullptr && *given != '\0' ? given : files;
}

struct Nccl {
  SharedLibrary library{files_of("ZEROTH_NCCL", "libnccl.so.2 libnccl.so"),
                        "install NCCL (PyPI: nvidia-nccl-cu13), and name its file in ZEROTH_NCCL "
                        "where the loader does not find it; or use ranks.engine=gloo"};
  nccl_abi::GetVersion* get_version;
  nccl_abi::GetUniqueId* get_unique_id;
  nccl_abi::InitRank* init_rank;
  nccl_abi::CommEnd *destroy, *abort;
  nccl_abi::AsyncError* async_error;
  nccl_abi::ErrorText* error_text;
  nccl_abi::Group *begin, *end;
  nccl_abi::Send* send;
  nccl_abi::Receive* receive;
  nccl_abi::AllReduce* all_reduce;

  Nccl() {
    library.find(get_version, "ncclGetVersion");
    library.find(get_unique_id, "ncclGetUniqueId");
    library.find(init_rank, "ncclCommInitRank");
    library.find(destroy, "ncclCommDestroy");
    library.find(abort, "ncclCommAbort");
    library.find(async_error, "ncclCommGetAsyncError");
    library.find(error_text, "ncclGetErrorString");
    library.find(begin, "ncclGroupStart");
    library.find(end, "ncclGroupEnd");
    library.find(send, "ncclSend");
    library.find(receive, "ncclRecv");
    library.find(all_reduce, "ncclAllReduce");
  }

  // 22707 is 2.27.7; before 2.9 two digits were one.
  std::string version() const {
    int code = 0;
    check(get_version(&code), "has no version");
    const int unit = code < 10000 ? 1000 : 10000;
    return std::to_string(code / unit) + "." + std::to_string(code % unit / 100) + "." +
           std::to_string(code % 100);
  }
  std::string id() const {
    nccl_abi::UniqueId id{};
    check(get_unique_id(&id), "cannot make an id");
    return {id.bytes, sizeof id.bytes};
  }
  void check(int code, const char* what) const {
    if (code != nccl_abi::kSuccess)
      fail(std::string("NCCL ") + what + ": " + error_text(code), kFix);
  }
};

struct Cuda {
  SharedLibrary library{files_of("ZEROTH_CUDA_DRIVER", "libcuda.so.1"),
                        "install the driver of the GPU, or use ranks.engine=gloo"};
  cuda_abi::Init* init;
  cuda_abi::DeviceCount* device_count;
  cuda_abi::DeviceOf* device_of;
  cuda_abi::RetainContext* retain;
  cuda_abi::ReleaseContext* release;
  cuda_abi::SetContext* set_context;
  cuda_abi::Allocate* allocate;
  cuda_abi::Free* free;
  cuda_abi::CopyIn* copy_in;
  cuda_abi::CopyOut* copy_out;
  cuda_abi::MakeStream* make_stream;
  cuda_abi::StreamCall *end_stream, *query;
  cuda_abi::ErrorText* error_text;

  Cuda() {
    library.find(init, "cuInit");
    library.find(device_count, "cuDeviceGetCount");
    library.find(device_of, "cuDeviceGet");
    library.find(retain, "cuDevicePrimaryCtxRetain");
    library.find(release, "cuDevicePrimaryCtxRelease_v2");
    library.find(set_context, "cuCtxSetCurrent");
    library.find(allocate, "cuMemAlloc_v2");
    library.find(free, "cuMemFree_v2");
    library.find(copy_in, "cuMemcpyHtoDAsync_v2");
    library.find(copy_out, "cuMemcpyDtoHAsync_v2");
    library.find(make_stream, "cuStreamCreate");
    library.find(end_stream, "cuStreamDestroy_v2");
    library.find(query, "cuStreamQuery");
    library.find(error_text, "cuGetErrorString");
    check(init(0), "cannot be used");
  }
  std::string text_of(int code) const {
    const char* text = nullptr;
    error_text(code, &text);
    return text != nullptr ? text : "error " + std::to_string(code);
  }
  void check(int code, const char* what) const {
    if (code != cuda_abi::kSuccess)
      fail(std::string("the GPU ") + what + ": " + text_of(code), kFix);
  }
  int count() const {
    int count = 0;
    check(device_count(&count), "cannot be counted");
    return count;
  }
};

// The GPU of a rank, a stream on it, and memory for messages. Of one thread.
class Gpu {
 public:
  Gpu(const Cuda& cuda, int number) : cuda_(cuda) {
    cuda_.check(cuda_.device_of(&device_, number), "cannot be opened");
    cuda_.check(cuda_.retain(&context_, device_), "cannot be opened");
    enter();
    cuda_.check(cuda_.make_stream(&stream_, cuda_abi::kNonBlocking), "has no stream");
  }
  ~Gpu() {
    cuda_.set_context(context_);
    if (memory_ != 0) cuda_.free(memory_);
    if (stream_ != nullptr) cuda_.end_stream(stream_);
    cuda_.release(device_);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  // The calling thread's calls go to this GPU.
  void enter() { cuda_.check(cuda_.set_context(context_), "cannot be entered"); }
  void* stream() const { return stream_; }
  // At least so many bytes; forgets what was there when it has to grow.
  std::byte* memory(size_t bytes) {
    if (bytes > bytes_) {
      if (memory_ != 0) cuda_.free(std::exchange(memory_, 0));
      bytes_ = 0;
      cuda_.check(cuda_.allocate(&memory_, bytes), "has no memory for messages");
      bytes_ = bytes;
    }
    return reinterpret_cast<std::byte*>(memory_);
  }
  void put(std::byte* to, std::span<const std::byte> from) {
    cuda_.check(
        cuda_.copy_in(reinterpret_cast<cuda_abi::Address>(to), from.data(), from.size(), stream_),
        "takes no message");
  }
  void take(std::span<std::byte> to, const std::byte* from) {
    cuda_.check(
        cuda_.copy_out(to.data(), reinterpret_cast<cuda_abi::Address>(from), to.size(), stream_),
        "gives no message");
  }
  // Whether all is done that was asked of it.
  bool done() {
    const int code = cuda_.query(stream_);
    if (code != cuda_abi::kNotReady) cuda_.check(code, "stopped");
    return code == cuda_abi::kSuccess;
  }

 private:
  const Cuda& cuda_;
  int device_ = 0;
  void *context_ = nullptr, *stream_ = nullptr;
  cuda_abi::Address memory_ = 0;
  size_t bytes_ = 0;
};

// The messages of a call to or from one rank, one behind the other.
template <class Byte>
class Stream {
 public:
  void add(std::span<Byte> bytes) {
    if (bytes.empty()) return;
    parts_.push_back(bytes);
    bytes_ += bytes.size();
  }
  size_t bytes() const { return bytes_; }
  // Bytes [from, to) of it, part by part, with their distance from `from`.
  template <class F>
  void visit(size_t from, size_t to, const F& f) const {
    size_t at = 0;
    for (const std::span<Byte> part : parts_) {
      const size_t begin = std::max(from, at), end = std::min(to, at + part.size());
      if (begin < end) f(part.subspan(begin - at, end - begin), begin - from);
      at += part.size();
    }
  }

 private:
  std::vector<std::span<Byte>> parts_;
  size_t bytes_ = 0;
};

class NcclTransport : public Transport {
 public:
  NcclTransport(const Launch& launch, Rendezvous& rendezvous)
      : rendezvous_(rendezvous), rank_(launch.rank), size_(launch.size), gpu_(cuda_, own_gpu()) {
    if (rank_ == 0) rendezvous_.set("nccl/id", nccl_.id());
    const std::string text = rendezvous_.get("nccl/id");
    nccl_abi::UniqueId id{};
    if (text.size() != sizeof id.bytes)
      fail("rank 0 has another NCCL: its ids have another length");
    std::memcpy(id.bytes, text.data(), text.size());
    // It waits for all ranks: who is alive is the rendezvous' affair.
    const int code = nccl_.init_rank(&comm_, size_, id, rank_);
    if (code != nccl_abi::kSuccess)
      end_exchange(rendezvous_, "NCCL cannot connect the ranks", nccl_.error_text(code));
  }

  ~NcclTransport() override {
    // An orderly end waits for all, so not when some are gone.
    if (comm_ != nullptr) broken_ ? nccl_.abort(comm_) : nccl_.destroy(comm_);
  }

  // In rounds, so that the GPU needs memory for a part of the messages only. Round k has bytes
  // k S to (k + 1) S of what a rank sends to another one, which both sides know.
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    std::vector<Stream<const std::byte>> to(size_);
    std::vector<Stream<std::byte>> from(size_);
    for (const Outgoing& one : out) to[one.to].add(one.bytes);
    for (const Incoming& one : in) from[one.from].add(one.bytes);
    size_t most = 0;
    for (int r = 0; r < size_; ++r) most = std::max({most, to[r].bytes(), from[r].bytes()});
    const size_t slice = kStaged / size_;
    for (size_t begin = 0; begin < most; begin += slice) round(to, from, begin, slice);
  }

  Ticket begin(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    out_.insert(out_.end(), out.begin(), out.end());
    in_.insert(in_.end(), in.begin(), in.end());
    return ++last_;
  }
  void finish(Ticket ticket) override {
    if (ticket <= finished_) return;
    const std::vector<Outgoing> out = std::exchange(out_, {});
    const std::vector<Incoming> in = std::exchange(in_, {});
    exchange(out, in);
    finished_ = last_;
  }
  void cancel() noexcept override {
    abort();
    out_.clear();
    in_.clear();
  }

  void sum(std::span<float> values) override {
    gpu_.enter();
    const size_t most = kStaged / sizeof(float);
    for (size_t at = 0; at < values.size(); at += most) {
      const std::span<float> part = values.subspan(at, std::min(most, values.size() - at));
      std::byte* memory = gpu_.memory(part.size_bytes());
      gpu_.put(memory, std::as_bytes(part));
      check(nccl_.all_reduce(memory, memory, part.size(), nccl_abi::kFloats, nccl_abi::kSum, comm_,
                             gpu_.stream()),
            "cannot add");
      wait();
      gpu_.take(std::as_writable_bytes(part), memory);
      wait();
    }
  }

  void abort() noexcept override { broken_ = true; }

 private:
  // Ranks of one machine take its GPUs in turn.
  int own_gpu() {
    const std::string key = "nccl/host/", own = host_name();
    rendezvous_.set(key + std::to_string(rank_), own);
    int before = 0;
    for (int r = 0; r < rank_; ++r) before += rendezvous_.get(key + std::to_string(r)) == own;
    const int count = cuda_.count();
    if (count == 0) fail("ranks.engine=nccl, and this machine has no GPU", kFix);
    // A launcher may show every rank one GPU of its own.
    if (count > 1 && before >= count) {
      fail("rank " + std::to_string(rank_) + " is number " + std::to_string(before + 1) +
               " on its machine, which has " + std::to_string(count) + " GPUs",
           "start one rank a GPU");
    }
    return before % count;
  }

  void round(const std::vector<Stream<const std::byte>>& to,
             const std::vector<Stream<std::byte>>& from, size_t begin, size_t slice) {
    gpu_.enter();
    const auto length = [&](size_t bytes) {
      return std::min(bytes - std::min(bytes, begin), slice);
    };
    size_t bytes = 0;
    for (int r = 0; r < size_; ++r) bytes += length(to[r].bytes()) + length(from[r].bytes());
    std::byte* const memory = gpu_.memory(bytes);
    std::byte* at = memory;
    for (int r = 0; r < size_; ++r) {
      to[r].visit(begin, begin + slice, [&](std::span<const std::byte> part, size_t offset) {
        gpu_.put(at + offset, part);
      });
      at += length(to[r].bytes());
    }
    at = memory;
    check(nccl_.begin(), "cannot begin");
    for (int r = 0; r < size_; ++r) {
      const size_t n = length(to[r].bytes());
      if (n > 0) check(nccl_.send(at, n, nccl_abi::kBytes, r, comm_, gpu_.stream()), "cannot send");
      at += n;
    }
    std::byte* const received = at;
    for (int r = 0; r < size_; ++r) {
      const size_t n = length(from[r].bytes());
      if (n > 0)
        check(nccl_.receive(at, n, nccl_abi::kBytes, r, comm_, gpu_.stream()), "cannot receive");
      at += n;
    }
    check(nccl_.end(), "cannot exchange");
    wait();  // before the host's side, whose copies cannot be ended
    at = received;
    for (int r = 0; r < size_; ++r) {
      from[r].visit(begin, begin + slice, [&](std::span<std::byte> part, size_t offset) {
        gpu_.take(part, at + offset);
      });
      at += length(from[r].bytes());
    }
    wait();
  }

  // For the stream. A rank that is gone would let NCCL wait for ever.
  void wait() {
    for (int turn = 0;; ++turn) {
      if (broken_) end_exchange(rendezvous_, "the exchange was ended", "");
      if (gpu_.done()) return;
      int code = nccl_abi::kSuccess;
      nccl_.async_error(comm_, &code);
      check(code, "lost a connection");
      if (turn < kBusyTurns) {
        ::sched_yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  }

  void check(int code, const char* what) {
    if (code == nccl_abi::kSuccess || code == nccl_abi::kInProgress) return;
    broken_ = true;
    end_exchange(rendezvous_, std::string("NCCL ") + what, nccl_.error_text(code));
  }

  Rendezvous& rendezvous_;
  const int rank_, size_;
  Nccl nccl_;
  Cuda cuda_;
  Gpu gpu_;
  void* comm_ = nullptr;
  std::atomic<bool> broken_{false};
  std::vector<Outgoing> out_;  // begun, and not waited for
  std::vector<Incoming> in_;
  Ticket last_ = 0, finished_ = 0;
};

}  // namespace

std::unique_ptr<Transport> make_nccl_transport(const Launch& launch, Rendezvous& rendezvous) {
  return std::make_unique<NcclTransport>(launch, rendezvous);
}

NcclReport nccl_report() {
  const Nccl nccl;
  return {nccl.version(), nccl.id()};
}

int gpu_count() { return Cuda().count(); }

}  // namespace zeroth
