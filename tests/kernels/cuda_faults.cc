// The machine that runs kernels on the CPU finds what is wrong with them: one fault planted at a
// time, in every order of threads and blocks; the same kernels without one are quiet.
#include "cuda_planted.h"
#include "cuda_test.h"

namespace zeroth::kernels {
namespace {

using namespace planted;
using fibers::Kind;

struct Planted {
  Plant plant;
  std::vector<float> (*run)(Plant);
  Kind kind;
};
constexpr Planted kPlanted[] = {
    {kReadPastEnd, run_reduction, Kind::kOutOfBounds},
    {kReadBeforeBegin, run_reduction, Kind::kOutOfBounds},
    {kWritePastEnd, run_reduction, Kind::kOutOfBounds},
    {kFreedMemory, run_reduction, Kind::kOutOfBounds},
    {kHostPointer, run_reduction, Kind::kHostMemory},
    {kUnwrittenInput, run_reduction, Kind::kUnwritten},
    {kSharedOverrun, run_reduction, Kind::kSharedBounds},
    {kUnwrittenShared, run_reduction, Kind::kUnwritten},
    {kNoBarrierBeforeWrite, run_reduction, Kind::kRace},
    {kBarrierSomeSkip, run_reduction, Kind::kBarrier},
    {kBarrierTwoPlaces, run_reduction, Kind::kBarrier},
    {kShuffleHalfMissing, run_reduction, Kind::kWarp},
    {kShuffleMaskWithoutSelf, run_reduction, Kind::kWarp},
    {kBlocksWriteOnePlace, run_reduction, Kind::kBlockRace},
    {kNoEnd, run_reduction, Kind::kStuck},
    {kTooMuchShared, run_reduction, Kind::kLimits},
    {kTooManyThreads, run_reduction, Kind::kLimits},
    {kGridTooHigh, run_reduction, Kind::kLimits},
    {kNoWarpBarrier, run_staging, Kind::kRace},
    {kAsyncNotWaited, run_staging, Kind::kAsync},
    {kAsyncReadTooEarly, run_staging, Kind::kAsync},
    {kAsyncWaitsForTooFew, run_staging, Kind::kAsync},
    {kAsyncMisaligned, run_staging, Kind::kMisaligned},
    {kVectorMisaligned, run_staging, Kind::kMisaligned},
    {kCounterNotAtomic, run_counting, Kind::kRace},
    {kTotalNotAtomic, run_counting, Kind::kRace},
};
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
    for (const Planted& p : kPlanted) {
      CAPTURE(p.plant);
      fibers::take_faults();
      p.run(p.plant);
      const std::vector<fibers::Fault> faults = fibers::take_faults();
      REQUIRE(faults.size() == 1);
      INFO(std::string(fibers::name_of(faults[0].kind)), ": ", faults[0].what);
      CHECK(faults[0].kind == p.kind);
    }
  }
}

TEST_CASE("a read that races with a write is found before or behind it") {
  for (const fibers::Order order : kOrders) {
    const InOrder in_order(order);
    for (const Plant plant : {kNoBarrierBeforeRead, kBlockReadsAnothers}) {
      fibers::take_faults();
      run_reduction(plant);
      const std::vector<fibers::Fault> faults = fibers::take_faults();
      REQUIRE(faults.size() == 1);
      // Where the reader comes first, nobody has written yet.
      const bool found = faults[0].kind == Kind::kRace || faults[0].kind == Kind::kBlockRace ||
                         faults[0].kind == Kind::kUnwritten;
      INFO(std::string(fibers::name_of(faults[0].kind)), ": ", faults[0].what);
      CHECK(found);
    }
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
