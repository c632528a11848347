// What can be wrong in the host's half of a back end: the stand-in for CUDA's runtime finds one
// fault planted at a time, and the same work without one is quiet and right.
#include "tests/cuda/gpu.h"
#if !defined(ZEROTH_ON_DEVICE)
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "core/error.h"
#include "kernels/cuda/fibers/runtime.h"
#include "kernels/cuda/rows.h"

namespace zeroth::kernels {
namespace {

using fibers::Kind;

enum Plant {
  kNone,
  kNothingCopiedIn,
  kTooLittleCopiedIn,
  kCopyOnAnotherStream,
  kKernelOnAnotherStream,
  kCopyBehindTheKernel,
  kReleasedBeforeTheKernel,
  kReleasedBeforeTheCopyOut,
  kBlockOfAnotherArray,
  kSegmentGivenBack,
  kCopyInPastTheEnd,
  kCopyOutPastTheEnd,
  kCopyOutOfTheHost,
  kClearedTooMuch,
  kReadBeforeTheWait,
  kPinnedMemoryReused,
  kArrivalsDropped,
  kCount
};

struct Found {
  std::optional<Kind> kind;
  bool right = false;  // what the host has in the end
};

// out = a + a of n floats: copied in, added on the device's stream, copied out.
class Work {
 public:
  explicit Work(Plant plant)
      : plant_(plant), gpu_(0), device_(gpu_.device()), lock_(device_.use()) {
    cudaStreamCreateWithFlags(&other_, cudaStreamNonBlocking);
    for (int64_t i = 0; i < kN; ++i) values_.push_back(static_cast<float>(i + 1));
  }
  ~Work() {
    for (float* array : arrays_) device_.release(array);
    cudaStreamDestroy(other_);
  }

  Found run() {
    try {
      enter();
      add();
      leave();
      device_.wait();
    } catch (const Error&) {  // of the wait: what failed is among the faults
    }
    Found found;
    const std::vector<fibers::Fault> faults = fibers::take_faults();
    if (!faults.empty()) found.kind = faults[0].kind;
    if (plant_ != kReadBeforeTheWait) seen_ = result_;
    found.right = true;
    for (int64_t i = 0; i < kN; ++i) found.right &= seen_[i] == 2 * values_[i];
    return found;
  }

 private:
  static constexpr int64_t kN = 1000;
  static constexpr size_t kBytes = kN * sizeof(float);

  float* take() {
    auto* const array = static_cast<float*>(device_.allocate(kBytes));
    arrays_.push_back(array);
    return array;
  }
  void drop(float* array) {
    std::erase(arrays_, array);
    device_.release(array);
  }
  void enter() {
    a_ = take();
    out_ = take();
    if (plant_ == kNothingCopiedIn || plant_ == kCopyBehindTheKernel) return;
    if (plant_ == kCopyOnAnotherStream) {
      cudaMemcpyAsync(a_, values_.data(), kBytes, cudaMemcpyHostToDevice, other_);
    } else if (plant_ == kPinnedMemoryReused) {
      void* pinned = nullptr;
      cudaMallocHost(&pinned, kBytes);
      std::memcpy(pinned, values_.data(), kBytes);
      cudaMemcpyAsync(a_, pinned, kBytes, cudaMemcpyHostToDevice, device_.stream());
      std::memset(pinned, 0, kBytes);  // the copy is still under way
      device_.wait();
      cudaFreeHost(pinned);
    } else if (plant_ == kTooLittleCopiedIn) {
      device_.copy_in(a_, values_.data(), kBytes - sizeof(float));
    } else if (plant_ == kCopyInPastTheEnd) {
      values_.push_back(0);
      device_.copy_in(a_, values_.data(), kBytes + sizeof(float));
    } else {
      device_.copy_in(a_, values_.data(), kBytes);
    }
    if (plant_ == kClearedTooMuch) device_.clear(out_, kBytes + 1);
  }
  void add() {
    float* const from = a_;
    if (plant_ == kReleasedBeforeTheKernel) drop(a_);
    if (plant_ == kBlockOfAnotherArray) {
      drop(a_);
      REQUIRE(take() == from);  // the cache gave the block to the next
    }
    if (plant_ == kSegmentGivenBack) {
      // Both arrays are of one segment, which begins with the first.
      REQUIRE(cudaFree(a_) == cudaSuccess);
    }
    const cuda::Stream stream = plant_ == kKernelOnAnotherStream ? other_ : device_.stream();
    cuda::add(stream, from, from, out_, kN);
    if (plant_ == kCopyBehindTheKernel) device_.copy_in(a_, values_.data(), kBytes);
  }
  void leave() {
    if (plant_ == kReleasedBeforeTheCopyOut) drop(out_);
    if (plant_ == kCopyOutPastTheEnd) {
      result_.push_back(0);
      return device_.bring(result_.data(), out_, kBytes + sizeof(float));
    }
    if (plant_ == kCopyOutOfTheHost) return device_.bring(result_.data(), values_.data(), kBytes);
    device_.bring(result_.data(), out_, kBytes);
    if (plant_ == kReadBeforeTheWait) seen_ = result_;
    if (plant_ == kArrivalsDropped) device_.drop_arrivals();
  }

  const Plant plant_;
  const Gpu gpu_;
  const cuda::GpuDevice& device_;
  const std::unique_lock<std::recursive_mutex> lock_;
  CUstream_st* other_ = nullptr;
  std::vector<float> values_, result_ = std::vector<float>(kN, -1.0f), seen_ = result_;
  float *a_ = nullptr, *out_ = nullptr;
  std::vector<float*> arrays_;
};

struct Planted {
  Plant plant;
  std::optional<Kind> kind;  // nothing: the result is wrong
};
constexpr Planted kPlanted[] = {
    {kNothingCopiedIn, Kind::kUnwritten},
    {kTooLittleCopiedIn, Kind::kUnwritten},
    {kCopyOnAnotherStream, Kind::kUnwritten},
    {kKernelOnAnotherStream, Kind::kUnwritten},
    {kCopyBehindTheKernel, Kind::kUnwritten},
    {kReleasedBeforeTheKernel, Kind::kOutOfBounds},
    {kReleasedBeforeTheCopyOut, Kind::kOutOfBounds},
    {kBlockOfAnotherArray, Kind::kUnwritten},
    {kSegmentGivenBack, Kind::kOutOfBounds},
    {kCopyInPastTheEnd, Kind::kOutOfBounds},
    {kCopyOutPastTheEnd, Kind::kOutOfBounds},
    {kCopyOutOfTheHost, Kind::kHostMemory},
    {kClearedTooMuch, Kind::kOutOfBounds},
    {kReadBeforeTheWait, {}},
    {kPinnedMemoryReused, {}},
    {kArrivalsDropped, {}},
};
static_assert(std::size(kPlanted) == kCount - 1);

TEST_CASE("faults of the host's half of the back end are found, and work without one is quiet") {
  if (fibers::looker() != fibers::Looker::kWatch) return;
  const auto control = [] {
    const Found found = Work(kNone).run();
    CHECK(!found.kind);
    CHECK(found.right);
  };
  control();
  for (const Planted& planted : kPlanted) {
    CAPTURE(planted.plant);
    const Found found = Work(planted.plant).run();
    CHECK(found.kind == planted.kind);
    if (!planted.kind) CHECK(!found.right);
  }
  control();
}

// The signal that ends a child of this process which does `work`; 0: none.
template <class F>
int signal_of(const F& work) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const rlimit no_core{};
    ::setrlimit(RLIMIT_CORE, &no_core);
    for (const int signal : {SIGSEGV, SIGABRT}) ::signal(signal, SIG_DFL);
    work();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_CASE("a host that follows the device's address, or gives memory back twice, ends") {
  if (fibers::looker() != fibers::Looker::kWatch)
    return;  // a sanitizer has its own way with signals
  const Gpu gpu(0);
  float* const array = static_cast<float*>(gpu.device().allocate(4000));
  gpu.device().clear(array, 4000);
  gpu.device().wait();
  CHECK(signal_of([] {}) == 0);
  CHECK(signal_of([&] { static_cast<void>(*const_cast<volatile float*>(array)); }) == SIGSEGV);
  CHECK(signal_of([&] { *const_cast<volatile float*>(array) = 1; }) == SIGSEGV);
  CHECK(signal_of([&] {
          gpu.device().release(array);
          gpu.device().release(array);
        }) == SIGABRT);
  gpu.device().release(array);
}

TEST_CASE("numbers that are kept of an array which somebody else wrote are the old ones") {
  const Gpu gpu(0);
  auto* const offsets = static_cast<int64_t*>(gpu.device().allocate(3 * sizeof(int64_t)));
  const auto rows = [&] {
    cuda::Call call(gpu.device());
    return call.groups({At<const int64_t>(offsets), 3}).rows;
  };
  const int64_t first[] = {0, 2, 5}, second[] = {0, 2, 9};
  gpu.device().copy_in(offsets, first, sizeof(first));
  CHECK(rows() == 5);
  // The fault: behind the back end's back.
  cudaMemcpyAsync(offsets, second, sizeof(second), cudaMemcpyHostToDevice, gpu.device().stream());
  CHECK(rows() == 5);
  gpu.device().copy_in(offsets, second, sizeof(second));
  CHECK(rows() == 9);
  gpu.device().release(offsets);
  check_quiet(gpu);
}

}  // namespace
}  // namespace zeroth::kernels
#endif
