// What a coordinator knows of its workers, of the work it cut, and of what it has seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/trajectory.h"
#include "net/http_server.h"

namespace zeroth::fleet {

// One worker as the coordinator knows it.
struct WorkerSession {
  std::string id, name, token, isa, version, remote, weights;  // token: TokenList::name_of
  int threads = 0;
  double since = 0, heard = 0;
  int64_t tokens = 0, results = 0, duplicates = 0, faults = 0, expired = 0;
  // Its long poll, when it waits for work.
  HttpExchangePtr parked;
  std::string parked_type;
  int64_t capacity = 0;
  double parked_until = 0;
  bool told = false;  // that the run is over
};

// A piece of a request, and what came for it.
struct Piece {
  int request = 0, first_sample = 0, samples = 0;
  std::string worker;            // whose result counts
  std::vector<Sample> accepted;  // kept to compare later ones with
  int disputes = 0;              // later ones that differed
};

struct FleetCounts {
  int64_t unauthorised = 0, refused_hellos = 0, malformed = 0, quarantined = 0, too_many = 0;
  int64_t results = 0, stale_results = 0, mismatches = 0, audited = 0;
  int64_t tokens = 0, publications = 0;
  double publish_s = 0;
};

// A long poll for weights: those of a hash, or (empty) any other than `after`, which the asking
// worker holds.
struct WeightsPoll {
  HttpExchangePtr exchange;
  std::string wanted, after;
  double until = 0;
};

}  // namespace zeroth::fleet
