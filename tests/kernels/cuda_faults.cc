// The machine that runs kernels on the CPU finds what is wrong with them: one fault planted at a
// time, in every order of threads and blocks; the same kernels without one are quiet.
#include <cstdio>
#include <iterator>

#include "cuda_planted.h"
#include "cuda_test.h"

namespace zeroth::kernels {
namespace {

using namespace planted;
using fibers::Kind;

// Who finds a fault, beside the watch on accesses, which finds them all: the fibers, whoever looks
// at accesses; AddressSanitizer; ThreadSanitizer.
enum Finder { kNobody = 0, kFibers = 1, kAddresses = 2, kThreads = 4 };

struct Planted {
  Plant plant;
  std::vector<float> (*run)(Plant);
  Kind kind;
  int finders;
};
constexpr Planted kPlanted[] = {
    {kReadPastEnd, run_reduction, Kind::kOutOfBounds, kAddresses},
    {kReadBeforeBegin, run_reduction, Kind::kOutOfBounds, kAddresses},
    {kWritePastEnd, run_reduction, Kind::kOutOfBounds, kAddresses},
    {kFreedMemory, run_reduction, Kind::kOutOfBounds, kAddresses},
    {kHostPointer, run_reduction, Kind::kHostMemory, kNobody},
    {kUnwrittenInput, run_reduction, Kind::kUnwritten, kNobody},
    {kSharedOverrun, run_reduction, Kind::kSharedBounds, kAddresses},
    {kUnwrittenShared, run_reduction, Kind::kUnwritten, kNobody},
    {kNoBarrierBeforeRead, run_reduction, Kind::kRace, kThreads},
    {kNoBarrierBeforeWrite, run_reduction, Kind::kRace, kThreads},
    {kBarrierSomeSkip, run_reduction, Kind::kBarrier, kFibers},
    {kBarrierTwoPlaces, run_reduction, Kind::kBarrier, kFibers},
    {kShuffleHalfMissing, run_reduction, Kind::kWarp, kFibers},
    {kShuffleMaskWithoutSelf, run_reduction, Kind::kWarp, kFibers},
    {kBlocksWriteOnePlace, run_reduction, Kind::kBlockRace, kThreads},
    {kBlockReadsAnothers, run_reduction, Kind::kBlockRace, kThreads},
    {kNoEnd, run_reduction, Kind::kStuck, kFibers},
    {kTooMuchShared, run_reduction, Kind::kLimits, kFibers},
    {kTooManyThreads, run_reduction, Kind::kLimits, kFibers},
    {kGridTooHigh, run_reduction, Kind::kLimits, kFibers},
    {kNoWarpBarrier, run_staging, Kind::kRace, kThreads},
    {kAsyncNotWaited, run_staging, Kind::kAsync, kFibers | kAddresses | kThreads},
    {kAsyncReadTooEarly, run_staging, Kind::kAsync, kAddresses | kThreads},
    {kAsyncWaitsForTooFew, run_staging, Kind::kAsync, kAddresses | kThreads},
    {kAsyncMisaligned, run_staging, Kind::kMisaligned, kFibers},
    {kVectorMisaligned, run_staging, Kind::kMisaligned, kFibers},
    {kCounterNotAtomic, run_counting, Kind::kRace, kThreads},
    {kTotalNotAtomic, run_counting, Kind::kRace, kThreads},
};
static_assert(std::size(kPlanted) == kCount - 1);

// Who looks at accesses in this program.
Finder sanitizer() {
  return fibers::looker() == fibers::Looker::kAddressSanitizer  ? kAddresses
         : fibers::looker() == fibers::Looker::kThreadSanitizer ? kThreads
                                                                : kNobody;
}
bool is_found(const Planted& p) {
  return sanitizer() == kNobody || (p.finders & (kFibers | sanitizer()));
}
bool is_its_kind(const Planted& p, Kind kind) {
  if (p.finders & sanitizer()) return kind == Kind::kReported;
  // Where the reader comes first, nobody has written yet.
  const bool reads = p.plant == kNoBarrierBeforeRead || p.plant == kBlockReadsAnothers;
  return kind == p.kind || (reads && (kind == Kind::kRace || kind == Kind::kUnwritten));
}

constexpr fibers::Order kOrders[] = {fibers::Order::kAscending, fibers::Order::kDescending,
                                     fibers::Order::kShuffled};

// In this order of threads and blocks, until the test ends.
struct InOrder {
  explicit InOrder(fibers::Order order) { fibers::set_order(order); }
  ~InOrder() { fibers::set_orders_in_turn(); }
};

TEST_CASE("every planted fault is found by its kind in every order") {
  for (const fibers::Order order : kOrders) {
    const InOrder in_order(order);
    int count = 0;
    for (const Planted& p : kPlanted) {
      if (!is_found(p)) continue;
      CAPTURE(p.plant);
      fibers::take_faults();
      p.run(p.plant);
      const std::vector<fibers::Fault> faults = fibers::take_faults();
      REQUIRE(faults.size() == 1);
      INFO(std::string(fibers::name_of(faults[0].kind)), ": ", faults[0].what);
      CHECK(is_its_kind(p, faults[0].kind));
      ++count;
    }
    std::printf("%d of %d planted faults found\n", count, kCount - 1);
  }
}

TEST_CASE("kernels without a fault are quiet and right in every order") {
  for (const fibers::Order order : kOrders) {
    const InOrder in_order(order);
    CHECK(run_reduction(kNone) == std::vector<float>{1000, 1000});
    check_quiet();
    const std::vector<float> turned = run_staging(kNone);
    check_quiet();
    bool right = true;
    for (int i = 0; i < 1024; ++i) right &= turned[i] == i / 512 * 512 + (i + 17) % 512;
    CHECK(right);
    CHECK(run_counting(kNone) == std::vector<float>{2048});
    check_quiet();
  }
}

TEST_CASE("a launch that failed leaves nothing behind for the next") {
  run_reduction(kBarrierSomeSkip);
  CHECK(fibers::take_faults().size() == 1);
  CHECK(run_reduction(kNone) == std::vector<float>{1000, 1000});
  check_quiet();
}

}  // namespace
}  // namespace zeroth::kernels
