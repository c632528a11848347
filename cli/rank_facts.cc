#include "cli/rank_facts.h"

#include "core/sha256.h"
#include "core/system.h"
#include "core/version.h"
#include "kernels/isa.h"

namespace zeroth {

std::vector<RankFact> rank_facts(const std::string& what, const std::string& text) {
  const auto brief = [](const std::string& hash) { return hash.substr(0, 16); };
  return {{"version", version_string() + " (" + git_revision() + ")"},
          {"numeric contract", brief(kernels::contract_hash())},
          {what, brief(sha256_hex(text))},
          // What version and contract do not see, such as a build with changes of its own.
          {"the binary's hash", brief(sha256_file(system::program_image()))}};
}

}  // namespace zeroth
