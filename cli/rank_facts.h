// What must be the same on the ranks of a job.
#pragma once

#include <string>
#include <vector>

#include "ranks/rendezvous.h"

namespace zeroth {

// This program, and what it is to do: `what` names `text`, of which the hash is compared.
std::vector<RankFact> rank_facts(const std::string& what, const std::string& text);

}  // namespace zeroth
