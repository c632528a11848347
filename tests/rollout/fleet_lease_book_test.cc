#include <doctest/doctest.h>

#include <random>
#include <set>

#include "rollout/fleet/lease_book.h"

namespace zeroth::fleet {
namespace {

TEST_CASE("work is lent in order, up to the capacity, and at least one piece") {
  LeaseBook book({.lease_s = 10});
  const WorkId a = book.add(16), b = book.add(16), c = book.add(100);
  CHECK(book.waiting_samples() == 132);
  const auto first = book.lend("w", 40, 0);
  REQUIRE(first.size() == 2);
  CHECK(first[0].work == a);
  CHECK(first[1].work == b);
  const auto second = book.lend("w", 40, 0);
  REQUIRE(second.size() == 1);  // larger than the capacity, but alone
  CHECK(second[0].work == c);
  CHECK(book.lend("w", 40, 0).empty());
  CHECK(book.waiting_samples() == 0);
}

TEST_CASE("tokens renew a lease, being alive does not") {
  LeaseBook book({.lease_s = 10});
  const WorkId work = book.add(1);
  const LeaseId lease = book.lend("w", 1, 0)[0].lease;
  CHECK(book.progress(lease, "w", 5, 8) == ProgressAnswer::kRenewed);
  CHECK(book.progress(lease, "w", 5, 15) == ProgressAnswer::kUnchanged);
  CHECK(book.expire(17.9).empty());
  CHECK(book.expire(18) == std::vector<std::string>{"w"});
  CHECK(book.progress(lease, "w", 5, 18) == ProgressAnswer::kUnchanged);  // alive is not enough
  const auto again = book.lend("v", 1, 18);
  REQUIRE(again.size() == 1);
  CHECK(again[0].work == work);
  CHECK(again[0].lease != lease);
  CHECK(book.progress(again[0].lease, "w", 1, 18) == ProgressAnswer::kDrop);  // not its own
  // Both go on; whoever is second is told to stop.
  CHECK(book.progress(lease, "w", 9, 19) == ProgressAnswer::kUnchanged);
  CHECK(book.progress(again[0].lease, "v", 2, 19) == ProgressAnswer::kRenewed);
  CHECK(book.complete(lease, "w", 20) == ResultAnswer::kFirst);
  CHECK(book.held_samples("v") == 1);
  CHECK(book.progress(again[0].lease, "v", 3, 20) == ProgressAnswer::kDrop);
  CHECK(book.held_samples("v") == 0);
  CHECK(book.all_done());
}

// A worker whose tokens take longer than a lease must not begin anew for ever.
TEST_CASE("a lease that ran out is taken up again by its tokens when nobody else has the piece") {
  LeaseBook book({.lease_s = 10});
  book.add(3);
  const LeaseId lease = book.lend("slow", 8, 0)[0].lease;
  for (int token = 1; token <= 5; ++token) {
    const double now = 15.0 * token;
    CHECK(book.expire(now).size() == 1);
    CHECK(book.counts().waiting == 1);
    CHECK(book.held_samples("slow") == 0);
    CHECK(book.progress(lease, "slow", token, now) == ProgressAnswer::kRenewed);
    CHECK(book.counts().waiting == 0);
    CHECK(book.counts().lent == 1);
    CHECK(book.waiting_samples() == 0);
    CHECK(book.held_samples("slow") == 3);
    CHECK(book.lend("other", 8, now).empty());
  }
  CHECK(book.complete(lease, "slow", 80) == ResultAnswer::kFirst);
  CHECK(book.all_done());
  // It gets the same piece again only when it has not spoken of it: the answer may be lost.
  book.add(1);
  const LeaseId first = book.lend("slow", 8, 100)[0].lease;
  CHECK(book.progress(first, "slow", 0, 109) == ProgressAnswer::kUnchanged);
  book.expire(111);
  CHECK(book.lend("slow", 8, 111).empty());
  book.add(1);
  CHECK(book.lend("slow", 8, 111).size() == 1);  // others it does
  CHECK(book.lend("slow", 1, 118.9).empty());
  book.expire(119.1);
  const LeaseId second = book.lend("slow", 1, 119.1)[0].lease;
  CHECK(book.progress(first, "slow", 1, 120) == ProgressAnswer::kUnchanged);
  CHECK(book.complete(first, "slow", 120) == ResultAnswer::kFirst);
  CHECK(book.progress(second, "slow", 1, 120) == ProgressAnswer::kDrop);
  CHECK(book.held_samples("slow") == 1);  // the other piece
}

TEST_CASE("the first complete result counts; a late one of a lease that ran out too") {
  LeaseBook book({.lease_s = 1});
  book.add(1);
  const LeaseId slow = book.lend("slow", 1, 0)[0].lease;
  book.expire(2);
  SUBCASE("nobody was faster") {
    CHECK(book.complete(slow, "slow", 3) == ResultAnswer::kFirst);
    CHECK(book.lend("fast", 1, 3).empty());
  }
  SUBCASE("it is lent again already") {
    const LeaseId fast = book.lend("fast", 1, 2)[0].lease;
    CHECK(book.complete(slow, "slow", 3) == ResultAnswer::kFirst);
    CHECK(book.complete(fast, "fast", 3) == ResultAnswer::kDuplicate);
    CHECK(book.complete(fast, "fast", 3) == ResultAnswer::kDuplicate);
  }
  CHECK(book.all_done());
  CHECK(book.counts().done == 1);
  CHECK(book.waiting_samples() == 0);
}

TEST_CASE("one piece is withdrawn, whatever became of it, and the others stay") {
  LeaseBook book({.lease_s = 10});
  const WorkId lent = book.add(2), done = book.add(3), waiting = book.add(4), other = book.add(5);
  const auto leases = book.lend("w", 5, 0);
  REQUIRE(leases.size() == 2);
  CHECK(book.complete(leases[1].lease, "w", 1) == ResultAnswer::kFirst);
  CHECK(book.held_samples("w") == 2);
  for (const WorkId work : {lent, done, waiting, waiting}) book.withdraw(work);
  CHECK(book.held_samples("w") == 0);
  CHECK(book.waiting_samples() == 5);
  CHECK(book.counts().waiting == 1);
  CHECK(book.counts().lent == 0);
  CHECK(book.counts().done == 0);
  CHECK(book.complete(leases[0].lease, "w", 2) == ResultAnswer::kUnknown);
  CHECK(book.progress(leases[0].lease, "w", 9, 2) == ProgressAnswer::kDrop);
  CHECK(book.expire(100).empty());
  const auto rest = book.lend("v", 9, 100);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].work == other);
  CHECK(book.complete(rest[0].lease, "v", 101) == ResultAnswer::kFirst);
  CHECK(book.all_done());
}

TEST_CASE("results of other leases, of other workers and of withdrawn work are refused") {
  LeaseBook book({.lease_s = 10});
  book.add(1);
  const LeaseId lease = book.lend("w", 1, 0)[0].lease;
  CHECK(book.complete(lease + 1, "w", 0) == ResultAnswer::kUnknown);
  CHECK(book.complete(lease, "v", 0) == ResultAnswer::kNotYours);
  book.withdraw_all();
  CHECK(book.complete(lease, "w", 0) == ResultAnswer::kUnknown);
  book.add(1);
  CHECK(book.lend("w", 1, 0)[0].lease > lease);
}

TEST_CASE("what a worker holds goes back in order when it leaves; a false result is made again") {
  LeaseBook book({.lease_s = 10});
  const WorkId a = book.add(1), b = book.add(1), c = book.add(1);
  const auto lent = book.lend("w", 2, 0);
  REQUIRE(lent.size() == 2);
  CHECK(book.complete(lent[0].lease, "w", 0) == ResultAnswer::kFirst);
  book.release("w");
  CHECK(book.held_by("w").empty());
  book.reopen(a);
  const auto rest = book.lend("v", 9, 0);
  REQUIRE(rest.size() == 3);
  CHECK(rest[0].work == a);
  CHECK(rest[1].work == b);
  CHECK(rest[2].work == c);
}

TEST_CASE("a clock that jumps back or far ahead loses nothing") {
  LeaseBook book({.lease_s = 10});
  book.add(1);
  const LeaseId lease = book.lend("w", 1, 1000)[0].lease;
  CHECK(book.progress(lease, "w", 1, 5) == ProgressAnswer::kRenewed);
  CHECK(book.expire(20).empty());  // before: standing still
  CHECK(book.expire(1e12).size() == 1);
  CHECK(book.lend("v", 1, 0).size() == 1);
  CHECK(book.expire(0).empty());
}

// Whatever happens in whatever order, a piece is done once, and nothing is lost.
TEST_CASE("a thousand random histories") {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % n); };
    LeaseBook book({.lease_s = 5});
    std::set<WorkId> open, counted;
    const int pieces = 1 + below(20);
    int64_t samples = 0;
    for (int i = 0; i < pieces; ++i) {
      const int n = 1 + below(8);
      samples += n;
      open.insert(book.add(n));
    }
    std::vector<std::pair<LentLease, std::string>> leases;
    double now = 0;
    for (int event = 0; event < 10000 && !book.all_done(); ++event) {
      now += below(3);
      const std::string worker(1, static_cast<char>('a' + below(4)));
      switch (below(5)) {
        case 0:
          for (const LentLease& lease : book.lend(worker, 1 + below(20), now))
            leases.emplace_back(lease, worker);
          break;
        case 1:
          if (below(4) == 0) book.release(worker);
          break;
        case 2:
          book.expire(now);
          break;
        default:
          if (leases.empty()) break;
          const auto& [lease, owner] = leases[below(static_cast<int>(leases.size()))];
          if (below(2) == 0) {
            book.progress(lease.lease, owner, below(100), now);
          } else if (book.complete(lease.lease, owner, now) == ResultAnswer::kFirst) {
            CHECK(counted.insert(lease.work).second);
          }
      }
      const LeaseCounts counts = book.counts();
      CHECK(counts.waiting + counts.lent + counts.done == pieces);
      int64_t held = 0;
      for (const char* name : {"a", "b", "c", "d"}) {
        CHECK((book.held_samples(name) > 0) == !book.held_by(name).empty());
        held += book.held_samples(name);
      }
      CHECK(held <= samples);
    }
    CHECK(book.all_done());
    CHECK(counted == open);
  }
}

}  // namespace
}  // namespace zeroth::fleet
