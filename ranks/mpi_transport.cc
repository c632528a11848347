// Open MPI (www.open-mpi.org) as an engine. It is loaded at run time and declared here, so that one
// binary runs with and without it: the names below have been the ABI of libmpi.so.40 since Open MPI
// 3, tests/ranks/mpi_abi_test.cc holds them against mpi.h where that is installed.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
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
constexpr int kExchanged = 1, kBegun = 2;  // tags, so that each is matched by itself
constexpr char kFix[] =
    "start it by mpirun, or by srun --mpi=pmix; any launcher will do for ranks.engine=gloo";
// So often a call that waits looks without sleeping: some tenths of a millisecond.
constexpr int kBusyTurns = 2000;
// Then, and while the callers compute, the thread sleeps between two looks: large messages between
// two machines' memories move by themselves, others in MPI's calls.
constexpr std::chrono::microseconds kWaiting{100}, kComputing{200};

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

// What is asked of MPI's thread, in order.
struct Job {
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  int tag = 0;
  std::span<float> sum;  // empty: messages
  std::vector<void*> requests;
  bool done = false;
};

// One thread makes all calls of MPI: it starts what it is asked for and looks after what is under
// way, also while nobody waits.
class MpiTransport : public Transport {
 public:
  MpiTransport(const Launch& launch, Rendezvous& rendezvous) : rendezvous_(rendezvous) {
    // MPI would start a daemon of its own for a process that nobody has started for it.
    if (launch.launcher != "Open MPI" && std::getenv("PMIX_RANK") == nullptr) {
      fail("ranks.engine=mpi, and this process was not started for MPI (but by " + launch.launcher +
               ")",
           kFix);
    }
    std::promise<void> started;
    thread_ = std::thread([&, this] {
      try {
        start(launch);
      } catch (...) {
        return started.set_exception(std::current_exception());
      }
      started.set_value();
      work();
    });
    try {
      started.get_future().get();
    } catch (...) {
      thread_.join();
      throw;
    }
  }

  ~MpiTransport() override { stop(); }

  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    finish(add({{out.begin(), out.end()}, {in.begin(), in.end()}, kExchanged, {}, {}, false}));
  }
  Ticket begin(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    return add({{out.begin(), out.end()}, {in.begin(), in.end()}, kBegun, {}, {}, false});
  }
  void sum(std::span<float> values) override { finish(add({{}, {}, 0, values, {}, false})); }

  void finish(Ticket ticket) override {
    std::unique_lock lock(mutex_);
    const auto found = jobs_.find(ticket);
    if (found == jobs_.end()) fail("an exchange is waited for that is not under way");
    ++waiting_;
    asked_.notify_one();
    done_.wait(lock, [&] { return found->second.done || broken_; });
    --waiting_;
    if (!found->second.done) lose(lock);
    jobs_.erase(found);
  }

  void abort() noexcept override {
    const std::lock_guard lock(mutex_);
    broken_ = true;
    asked_.notify_one();
    done_.notify_all();
  }

  // MPI moves bytes in its calls only, and there are none any more.
  void cancel() noexcept override {
    abort();
    stop();
  }

 private:
  // Of MPI's thread.
  struct Broken {
    std::string what, detail;
  };

  Ticket add(Job job) {
    std::unique_lock lock(mutex_);
    if (broken_) lose(lock);
    jobs_.emplace(++last_, std::move(job));
    asked_.notify_one();
    return last_;
  }

  [[noreturn]] void lose(std::unique_lock<std::mutex>& lock) {
    const Broken why = why_;
    lock.unlock();
    end_exchange(rendezvous_, why.what.empty() ? "the exchange was ended" : why.what, why.detail);
  }

  void stop() noexcept {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      quit_ = true;
      asked_.notify_one();
    }
    thread_.join();
  }

  // ---- what follows is of MPI's thread

  void start(const Launch& launch) {
    int is = 0, was = 0;
    mpi_.initialized(&is);
    mpi_.finalized(&was);
    if (is != 0 || was != 0) fail("MPI can be started once a process");
    int provided = 0;
    if (mpi_.init(nullptr, nullptr, kThreadSerialized, &provided) != kSuccess)
      fail("cannot start MPI", kFix);
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

  void work() {
    Ticket posted = 0;
    std::vector<Job*> running;
    int turn = 0;  // since something happened
    std::unique_lock lock(mutex_);
    while (!quit_ && !broken_) {
      std::vector<Job*> added;
      for (auto next = jobs_.upper_bound(posted); next != jobs_.end(); ++next) {
        added.push_back(&next->second);
        posted = next->first;
      }
      const bool waited_for = waiting_ > 0;
      if (added.empty() && running.empty()) {
        asked_.wait(lock);
        continue;
      }
      lock.unlock();
      std::vector<Job*> ended;
      Broken why;
      try {
        for (Job* job : added) post(*job);
        running.insert(running.end(), added.begin(), added.end());
        std::erase_if(running, [&](Job* job) {
          const bool done = finished(*job);
          if (done) ended.push_back(job);
          return done;
        });
      } catch (const Broken& broken) {
        why = broken;
      }
      turn = added.empty() && ended.empty() ? turn + 1 : 0;
      // MPI's own wait cannot be ended from outside, and takes a whole core for as long as it waits.
      const bool busy = waited_for && turn < kBusyTurns;
      if (busy) ::sched_yield();
      lock.lock();
      for (Job* job : ended) job->done = true;
      if (!why.what.empty()) why_ = why;
      if (!why.what.empty()) broken_ = true;
      if (!ended.empty() || broken_) done_.notify_all();
      if (!busy && !running.empty() && !broken_ && !quit_)
        asked_.wait_for(lock, waited_for ? kWaiting : kComputing);
    }
    const bool orderly = !broken_;
    lock.unlock();
    if (orderly) mpi_.finalize();  // waits for all, so not when some are gone
  }

  void post(Job& job) {
    if (!job.sum.empty()) return post_sum(job);
    for (const Incoming& one : job.in) {
      for (size_t at = 0; at < one.bytes.size(); at += kMostBytes) {
        const size_t count = std::min(kMostBytes, one.bytes.size() - at);
        check(mpi_.receive(one.bytes.data() + at, static_cast<int>(count), mpi_.byte, one.from,
                           job.tag, mpi_.world, &job.requests.emplace_back()),
              "cannot receive");
      }
    }
    for (const Outgoing& one : job.out) {
      for (size_t at = 0; at < one.bytes.size(); at += kMostBytes) {
        const size_t count = std::min(kMostBytes, one.bytes.size() - at);
        check(mpi_.send(one.bytes.data() + at, static_cast<int>(count), mpi_.byte, one.to, job.tag,
                        mpi_.world, &job.requests.emplace_back()),
              "cannot send");
      }
    }
  }
  void post_sum(Job& job) {
    const size_t most = kMostBytes / sizeof(float);
    for (size_t at = 0; at < job.sum.size(); at += most) {
      const size_t count = std::min(most, job.sum.size() - at);
      check(mpi_.all_reduce(kInPlace, job.sum.data() + at, static_cast<int>(count), mpi_.real,
                            mpi_.sum, mpi_.world, &job.requests.emplace_back()),
            "cannot add");
    }
  }

  bool finished(Job& job) {
    int done = 0;
    check(mpi_.test_all(static_cast<int>(job.requests.size()), job.requests.data(), &done,
                        kStatusesIgnore),
          "an exchange broke");
    return done != 0;
  }

  void check(int code, const char* what) const {
    if (code == kSuccess) return;
    char text[kMostError] = "";
    int length = 0;
    mpi_.error_text(code, text, &length);
    throw Broken{what, text};
  }

  Rendezvous& rendezvous_;
  Mpi mpi_;
  std::thread thread_;
  std::mutex mutex_;                      // guards what follows
  std::condition_variable asked_, done_;  // asked_: of the thread
  std::map<Ticket, Job> jobs_;            // what is done stays until it is waited for
  Ticket last_ = 0;
  int waiting_ = 0;  // callers
  bool broken_ = false, quit_ = false;
  Broken why_;
};

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(const Launch& launch, Rendezvous& rendezvous) {
  return std::make_unique<MpiTransport>(launch, rendezvous);
}

std::string mpi_version() { return Mpi().version(); }

}  // namespace zeroth
