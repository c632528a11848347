// Which instruction set the operators use, and the contract that all of them keep.
#pragma once

#include <string>
#include <vector>

namespace zeroth::kernels {

// "avx512", "avx2", "neon" or "portable": the best the processor has, or ZEROTH_ISA when set. All
// give the same bits.
std::string isa();
void set_isa(const std::string& name);  // throws Error(kUsage) when unknown or not supported here
std::vector<std::string> supported_isas();
// SHA-256 (hex) of the written contract: names, orders and constants of every operator.
std::string contract_hash();
// "contract 4" for this build's hash, "contract 1" for that of an earlier contract, or "an unknown
// contract".
std::string contract_name(const std::string& hash);
// Whether what was computed under that contract has the same bits under this one.
bool goes_on_from(const std::string& hash);
std::string contract_text();

}  // namespace zeroth::kernels
