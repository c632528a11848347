// Our declarations of Open MPI's functions against its own header, where that is installed.
#include "ranks/mpi_abi.h"

#include <doctest/doctest.h>

#include <type_traits>

#ifdef ZEROTH_MPI_HEADER
// Without the bindings for C++, which want a library of their own.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

namespace {

using namespace zeroth::mpi_abi;

// Every pointer to one of Open MPI's own types as void*.
template <class T>
struct Plain {
  using type = T;
};
template <class T>
struct Plain<T*> {
  using type = std::conditional_t<std::is_class_v<T>, void, typename Plain<T>::type>*;
};
template <class R, class... A>
struct Plain<R(A...)> {
  using type = R(typename Plain<A>::type...);
};
template <class Theirs, class Ours>
constexpr bool kSame = std::is_same_v<typename Plain<Theirs>::type, Ours>;

static_assert(kSame<decltype(MPI_Init_thread), Init>);
static_assert(kSame<decltype(MPI_Initialized), Initialized>);
static_assert(kSame<decltype(MPI_Finalized), Initialized>);
static_assert(kSame<decltype(MPI_Comm_rank), CommNumber>);
static_assert(kSame<decltype(MPI_Comm_size), CommNumber>);
static_assert(kSame<decltype(MPI_Comm_set_errhandler), SetErrorHandler>);
static_assert(kSame<decltype(MPI_Isend), Send>);
static_assert(kSame<decltype(MPI_Irecv), Receive>);
static_assert(kSame<decltype(MPI_Testall), TestAll>);
static_assert(kSame<decltype(MPI_Iallreduce), AllReduce>);
static_assert(kSame<decltype(MPI_Error_string), ErrorText>);
static_assert(kSame<decltype(MPI_Get_library_version), VersionText>);
static_assert(kSame<decltype(MPI_Finalize), Finalize>);

TEST_CASE("Open MPI's constants are those of its header") {
  CHECK(MPI_SUCCESS == kSuccess);
  CHECK(MPI_THREAD_SERIALIZED == kThreadSerialized);
  CHECK(MPI_MAX_ERROR_STRING < kMostError);
  CHECK(MPI_MAX_LIBRARY_VERSION_STRING < kMostVersion);
  CHECK(MPI_IN_PLACE == kInPlace);
  CHECK(MPI_STATUSES_IGNORE == kStatusesIgnore);
}

}  // namespace
#endif
