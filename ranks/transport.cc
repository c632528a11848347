#include "ranks/transport.h"

#include "core/error.h"

namespace zeroth {

void end_exchange(const Rendezvous& rendezvous, const std::string& what,
                  const std::string& detail) {
  const std::string why = rendezvous.lost(1.5);
  fail(why.empty() ? what + (detail.empty() ? "" : ": " + detail) : why,
       "look at that rank's output for its own last words; then go on from the last checkpoint: "
       "zeroth train --resume RUN, on any number of ranks");
}

}  // namespace zeroth
