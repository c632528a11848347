// Open MPI (www.open-mpi.org) as an engine. It is loaded at run time and declared here, so that one
// binary runs with and without it: the names below have been the ABI of libmpi.so.40 since Open MPI
// 3, tests/ranks/mpi_abi_test.cc holds them against mpi.h where that is installed.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "ranks/mpi_abi.h"
#include "ranks/shared_library.h"
#include "ranks/transport.h"

namespace zeroth {
namespace {

using namespace mpi_abi;

// MPI counts in int.
constexpr size_t kMostBytes = size_t{1} << 30;
constexpr int kTag = 1;
constexpr char kFix[] =
    "start it by mpirun, or by srun --mpi=pmix; any launcher will do for ranks.engine=gloo";
// So often a call that waits looks without sleeping: some tenths of a millisecond.
constexpr int kBusyTurns = 2000;

struct Mpi {
  SharedLibrary library{"libmpi.so.40 libmpi.so",
                        "install Open MPI (Debian: openmpi-bin), or use ranks.engine=gloo",
                        true};  // its plug-ins look for its symbols
  Init* init;
  Initialized *initialized, *finalized;
  CommNumber *rank, *size;
  SetErrorHandler* set_error_handler;
  Send* send;
  Receive* receive;
  TestAll* test_all;
  AllReduce* all_reduce;
  ErrorText* error_text;
  VersionText* version_text;
  Finalize* finalize;
  void *world, *byte, *real, *sum, *errors_return;

  Mpi() {
    library.find(init, "MPI_Init_thread");
    library.find(initialized, "MPI_Initialized");
    library.find(finalized, "MPI_Finalized");
    library.find(rank, "MPI_Comm_rank");
    library.find(size, "MPI_Comm_size");
    library.find(set_error_handler, "MPI_Comm_set_errhandler");
    library.find(send, "MPI_Isend");
    library.find(receive, "MPI_Irecv");
    library.find(test_all, "MPI_Testall");
    library.find(all_reduce, "MPI_Iallreduce");
    library.find(error_text, "MPI_Error_string");
    library.find(version_text, "MPI_Get_library_version");
    library.find(finalize, "MPI_Finalize");
    world = library.symbol("ompi_mpi_comm_world");
    byte = library.symbol("ompi_mpi_byte");
    real = library.symbol("ompi_mpi_float");
    sum = library.symbol("ompi_mpi_op_sum");
    errors_return = library.symbol("ompi_mpi_errors_return");
  }
  std::string version() const {
    char text[kMostVersion] = "";
    int length = 0;
    version_text(text, &length);
    const std::string all(text);
    return all.substr(0, all.find(','));
  }
};

class MpiTransport : public Transport {
 public:
  MpiTransport(const Launch& launch, Rendezvous& rendezvous) : rendezvous_(rendezvous) {
    // MPI would start a daemon of its own for a process that nobody has started for it.
    if (launch.launcher != "Open MPI" && std::getenv("PMIX_RANK") == nullptr) {
      fail("ranks.engine=mpi, and this process was not started for MPI (but by " + launch.launcher +
               ")",
           kFix);
    }
    int is = 0, was = 0;
    mpi_.initialized(&is);
    mpi_.finalized(&was);
    if (is != 0 || was != 0) fail("MPI can be started once a process");
    int provided = 0;
    check(mpi_.init(nullptr, nullptr, kThreadSerialized, &provided), "cannot start MPI");
    int rank = -1, size = 0;
    mpi_.rank(mpi_.world, &rank);
    mpi_.size(mpi_.world, &size);
    if (rank != launch.rank || size != launch.size || provided < kThreadSerialized) {
      fail(mpi_.version() + " says that this process is rank " + std::to_string(rank) + " of " +
               std::to_string(size) + ", its launcher (" + launch.launcher + ") rank " +
               std::to_string(launch.rank) + " of " + std::to_string(launch.size),
           kFix);
    }
    mpi_.set_error_handler(mpi_.world, mpi_.errors_return);
  }

  ~MpiTransport() override {
    if (!broken_) mpi_.finalize();  // waits for all, so not when some are gone
  }

  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    std::vector<void*> requests;
    for (const Incoming& one : in) {
      for (size_t at = 0; at < one.bytes.size(); at += kMostBytes) {
        const size_t count = std::min(kMostBytes, one.bytes.size() - at);
        check(mpi_.receive(one.bytes.data() + at, static_cast<int>(count), mpi_.byte, one.from,
                           kTag, mpi_.world, &requests.emplace_back()),
              "cannot receive");
      }
    }
    for (const Outgoing& one : out) {
      for (size_t at = 0; at < one.bytes.size(); at += kMostBytes) {
        const size_t count = std::min(kMostBytes, one.bytes.size() - at);
        check(mpi_.send(one.bytes.data() + at, static_cast<int>(count), mpi_.byte, one.to, kTag,
                        mpi_.world, &requests.emplace_back()),
              "cannot send");
      }
    }
    finish(requests);
  }

  void sum(std::span<float> values) override {
    std::vector<void*> requests;
    const size_t most = kMostBytes / sizeof(float);
    for (size_t at = 0; at < values.size(); at += most) {
      const size_t count = std::min(most, values.size() - at);
      check(mpi_.all_reduce(kInPlace, values.data() + at, static_cast<int>(count), mpi_.real,
                            mpi_.sum, mpi_.world, &requests.emplace_back()),
            "cannot add");
    }
    finish(requests);
  }

  void abort() noexcept override { broken_ = true; }

 private:
  // MPI's own wait cannot be ended from outside, and takes a whole core for as long as it waits.
  void finish(std::vector<void*>& requests) {
    const auto count = static_cast<int>(requests.size());
    for (int turn = 0;; ++turn) {
      if (broken_) end_exchange(rendezvous_, "the exchange was ended", "");
      int done = 0;
      check(mpi_.test_all(count, requests.data(), &done, kStatusesIgnore), "an exchange broke");
      if (done != 0) return;
      if (turn < kBusyTurns) {
        ::sched_yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }

  void check(int code, const char* what) {
    if (code == kSuccess) return;
    broken_ = true;
    char text[kMostError] = "";
    int length = 0;
    mpi_.error_text(code, text, &length);
    end_exchange(rendezvous_, what, text);
  }

  Rendezvous& rendezvous_;
  Mpi mpi_;
  std::atomic<bool> broken_{false};
};

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(const Launch& launch, Rendezvous& rendezvous) {
  return std::make_unique<MpiTransport>(launch, rendezvous);
}

std::string mpi_version() { return Mpi().version(); }

}  // namespace zeroth
