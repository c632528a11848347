// NCCL as an engine: over the library and a driver that tests/ranks/fake_nccl.cc plays, and what a
// real library does without a GPU.
#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "ranks/nccl_abi.h"
#include "ranks/team.h"
#include "tests/ranks/support.h"

#ifdef ZEROTH_NCCL_HEADER
#include <cuda.h>
#include <nccl.h>
#endif

using namespace zeroth;

namespace {

struct Variable {
  Variable(const char* n, const char* value) : name(n) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  const char* name;
};

struct Fake {
  Variable nccl{"ZEROTH_NCCL", ZEROTH_FAKE_NCCL}, driver{"ZEROTH_CUDA_DRIVER", ZEROTH_FAKE_NCCL};
};

std::vector<Member> members_of(int size) {
  std::vector<Member> members;
  for (int r = 0; r < size; ++r) members.push_back({r, size, {}, 60, "nccl"});
  return members;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("messages through GPUs arrive whole, in any number and length") {
  const Fake fake;
  for (const int size : {2, 3}) {
    const auto errors = run_members(members_of(size), free_port(), [&](Team& team) {
      for (int i = 0; i < 3; ++i) {
        const std::string mine(team.rank() * 100000 + i, static_cast<char>('a' + team.rank()));
        const auto all = team.gather("text", mine);
        for (int r = 0; r < size; ++r)
          CHECK(all[r] == std::string(r * 100000 + i, static_cast<char>('a' + r)));
      }
      // Two messages to one rank, of which one is longer than a round.
      const size_t longest = (size_t{64} << 20) / size / 4 + 1000;
      std::vector<uint32_t> longs(longest), shorts(5, team.rank()), got(longest), few(5);
      std::iota(longs.begin(), longs.end(), 1000u * team.rank());
      const int next = (team.rank() + 1) % size, before = (team.rank() + size - 1) % size;
      const Outgoing out[] = {{next, std::as_bytes(std::span(shorts))},
                              {next, std::as_bytes(std::span(longs))}};
      const Incoming in[] = {{before, std::as_writable_bytes(std::span(few))},
                             {before, std::as_writable_bytes(std::span(got))}};
      team.exchange(out, in);
      std::iota(longs.begin(), longs.end(), 1000u * before);
      CHECK(got == longs);
      CHECK(few == std::vector<uint32_t>(5, before));
      std::vector<float> values(7, static_cast<float>(team.rank() + 1));
      team.sum(values);
      CHECK(values == std::vector<float>(7, static_cast<float>(size * (size + 1) / 2)));
    });
    for (const std::string& error : errors) CHECK(error == "");
  }
}

TEST_CASE("messages that are begun arrive over NCCL when they are waited for") {
  const Fake fake;
  for (const int size : {2, 3}) {
    const auto errors =
        run_members(members_of(size), free_port(), [](Team& team) { pass_messages(team, 5); });
    for (const std::string& error : errors) CHECK(error == "");
  }
}

TEST_CASE("a rank that fails ends those that wait for its message over NCCL") {
  const Fake fake;
  const auto errors = run_members(members_of(3), free_port(), [&](Team& team) {
    if (team.rank() == 1) {
      team.fail("the disk is full");
      fail("the disk is full");
    }
    for (int i = 0; i < 1000; ++i) team.gather("turn", "");
  });
  for (const std::string& error : errors) {
    CAPTURE(error);
    CHECK(error.find("the disk is full") != std::string::npos);
  }
}

TEST_CASE("a fault that NCCL finds while it works ends the exchange") {
  const Fake fake;
  const Variable fault("FAKE_FAULT", "6");
  for (const std::string& error : run_members(members_of(2), free_port(), nullptr)) {
    CAPTURE(error);
    CHECK(error.find("NCCL lost a connection: a fault of the fake") != std::string::npos);
  }
}

TEST_CASE("ranks without a GPU each are told how many there are") {
  const Fake fake;
  SUBCASE("none") {
    const Variable gpus("FAKE_GPUS", "0");
    for (const std::string& error : run_members(members_of(2), free_port(), nullptr)) {
      CAPTURE(error);
      CHECK(error.find("no GPU") != std::string::npos);
    }
  }
  SUBCASE("two for three ranks") {
    const Variable gpus("FAKE_GPUS", "2");
    for (const std::string& error : run_members(members_of(3), free_port(), nullptr)) {
      CAPTURE(error);
      CHECK(error.find("rank 2 is number 3 on its machine, which has 2 GPUs") != std::string::npos);
    }
  }
}

TEST_CASE("a library that is not there is named, with what to do") {
  const Variable nccl("ZEROTH_NCCL", "/nowhere/libnccl.so.2");
  const std::string message = message_of([] { nccl_report(); });
  CAPTURE(message);
  CHECK(message.find("cannot load /nowhere/libnccl.so.2") != std::string::npos);
}

TEST_CASE("the NCCL of this machine makes ids of jobs without a GPU") {
  NcclReport report;
  const std::string missing = message_of([&] { report = nccl_report(); });
  if (missing.find("cannot load") != std::string::npos) {
    MESSAGE("skipped: " << missing);
    return;
  }
  CHECK(missing == "");
  CHECK(report.version.find('.') != std::string::npos);
  CHECK(report.id.size() == 128);
  CHECK(report.id != std::string(128, '\0'));
  CHECK(nccl_report().id != report.id);
}

#ifdef ZEROTH_NCCL_HEADER
TEST_CASE("what is declared of NCCL and the driver is what their headers say") {
  CHECK(ncclSuccess == nccl_abi::kSuccess);
  CHECK(ncclInProgress == nccl_abi::kInProgress);
  CHECK(ncclInt8 == nccl_abi::kBytes);
  CHECK(ncclFloat32 == nccl_abi::kFloats);
  CHECK(ncclSum == nccl_abi::kSum);
  CHECK(sizeof(ncclUniqueId) == sizeof(nccl_abi::UniqueId));
  CHECK(CUDA_ERROR_NOT_READY == cuda_abi::kNotReady);
  CHECK(CU_STREAM_NON_BLOCKING == cuda_abi::kNonBlocking);
}

namespace {

// Their enumerations as int, their own structures as void.
template <class T>
struct Plain {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <>
struct Plain<ncclUniqueId> {
  using type = nccl_abi::UniqueId;
};
template <class T>
struct Plain<T*> {
  using type =
      std::conditional_t<std::is_same_v<T, ncclUniqueId>, nccl_abi::UniqueId,
                         std::conditional_t<std::is_class_v<T>, void, typename Plain<T>::type>>*;
};
template <class R, class... A>
struct Plain<R(A...)> {
  using type = typename Plain<R>::type(typename Plain<A>::type...);
};
template <class Theirs, class Ours>
constexpr bool kSame = std::is_same_v<typename Plain<Theirs>::type, Ours>;

static_assert(kSame<decltype(ncclGetVersion), nccl_abi::GetVersion>);
static_assert(kSame<decltype(ncclGetUniqueId), nccl_abi::GetUniqueId>);
static_assert(kSame<decltype(ncclCommInitRank), nccl_abi::InitRank>);
static_assert(kSame<decltype(ncclCommDestroy), nccl_abi::CommEnd>);
static_assert(kSame<decltype(ncclCommAbort), nccl_abi::CommEnd>);
static_assert(kSame<decltype(ncclCommGetAsyncError), nccl_abi::AsyncError>);
static_assert(kSame<decltype(ncclGetErrorString), nccl_abi::ErrorText>);
static_assert(kSame<decltype(ncclGroupStart), nccl_abi::Group>);
static_assert(kSame<decltype(ncclSend), nccl_abi::Send>);
static_assert(kSame<decltype(ncclRecv), nccl_abi::Receive>);
static_assert(kSame<decltype(ncclAllReduce), nccl_abi::AllReduce>);
static_assert(kSame<decltype(cuInit), cuda_abi::Init>);
static_assert(kSame<decltype(cuDeviceGetCount), cuda_abi::DeviceCount>);
static_assert(kSame<decltype(cuDeviceGet), cuda_abi::DeviceOf>);
static_assert(kSame<decltype(cuDevicePrimaryCtxRetain), cuda_abi::RetainContext>);
static_assert(kSame<decltype(cuDevicePrimaryCtxRelease), cuda_abi::ReleaseContext>);
static_assert(kSame<decltype(cuCtxSetCurrent), cuda_abi::SetContext>);
static_assert(kSame<decltype(cuMemAlloc), cuda_abi::Allocate>);
static_assert(kSame<decltype(cuMemFree), cuda_abi::Free>);
static_assert(kSame<decltype(cuMemcpyHtoDAsync), cuda_abi::CopyIn>);
static_assert(kSame<decltype(cuMemcpyDtoHAsync), cuda_abi::CopyOut>);
static_assert(kSame<decltype(cuStreamCreate), cuda_abi::MakeStream>);
static_assert(kSame<decltype(cuStreamDestroy), cuda_abi::StreamCall>);
static_assert(kSame<decltype(cuStreamQuery), cuda_abi::StreamCall>);
static_assert(kSame<decltype(cuGetErrorString), cuda_abi::ErrorText>);

}  // namespace
#endif
