// Values of algebraic expressions modulo a prime, by which identities are tested.
#pragma once

#include <cstdint>
#include <optional>

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// p = 44 * 8 * (3*5*7*..*43) + 1, a 61-bit prime. Since p = 1 modulo 8 and modulo every odd prime
// up to 43, quadratic reciprocity makes -1, 2, 3, 5, .., 43 squares modulo p. Hence there is a ring
// homomorphism from Z[i, sqrt 2, .., sqrt 43, x, y, ..] (pi and e count as variables) and most of
// its fractions to F_p: equal expressions have equal residues, and different ones differ at a
// random point with probability at least 1 - degree / p (Schwartz 1980, Zippel 1979).
constexpr uint64_t kPrime = 2302565994373925281ULL;

// The residue of `ref` at probe point `point` (0..kProbePoints-1). nullopt when the expression is
// not algebraic in the sense above, divides by 0, or is over budget. Sums and products with integer
// bounds are unrolled.
std::optional<uint64_t> residue(Evaluation& evaluation, Ref ref, int point);

// A hash of an application f(..) of an unknown function: equal arguments give equal hashes, by
// their residues where they have some and by their structure else.
uint64_t hash_of_call(Evaluation& evaluation, Ref call, int point);

}  // namespace zeroth::math
