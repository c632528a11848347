// SHA-256 of several messages at once, for the bytes of weights.
//
// One message leaves a core idle half of the time, because every round waits for the one before.
// Where the processor has instructions for SHA-256 a thread works on two messages side by side; else
// libcrypto does one after the other.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// The hashes as sha256_hex gives them, in the order of the messages; on all threads, each message
// on one of them.
std::vector<std::string> sha256_hex_many(std::span<const std::string_view> messages);

}  // namespace zeroth
