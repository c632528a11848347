// How far sampling may be ahead of training: the section `async` of a run's config.
#pragma once

#include "core/config.h"

namespace zeroth {

struct AsyncConfig {
  int lag = 0;
  int max_staleness = 0;
  bool switch_in_flight = false;
  int token_budget = 0;
  // Whether a step may get samples of earlier weights.
  bool ahead() const { return lag > 0 || max_staleness > 0; }
  // Whether a step may train on tokens of earlier weights.
  bool mixes() const { return ahead() || token_budget > 0; }
  template <class V>
  void fields(V& v) {
    v("lag", lag,
      "step k trains on samples of the weights of step k - lag, so that sampling and training "
      "overlap; the bytes depend on it alone, never on timing; 0 = one after the other",
      Range{0, 64});
    v("max_staleness", max_staleness,
      "sampling goes on all the time, and no token that a step trains on is of weights from more "
      "than so many steps before; which groups a step takes depends on timing, and is written to "
      "RUN/journal.jsonl, from which train --replay makes the same bytes; 0 = off",
      Range{0, 64});
    v("switch_in_flight", switch_in_flight,
      "with max_staleness: samples that are being drawn go on by new weights from their next token "
      "on");
    v("token_budget", token_budget,
      "partial rollouts: a step draws at most so many tokens of a sample; a group with a sample "
      "that has not ended is set aside and goes on in the next step, by its weights, and the step "
      "trains on the others; 0 = off",
      Range{0, 1 << 20});
  }
};

}  // namespace zeroth
