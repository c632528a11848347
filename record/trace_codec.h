// A group of samples <-> the payload of one trace record: a JSON head for what is irregular
// (problem, verdicts), byte planes for what is numeric (ids, log-probs, entropies), because
// equal-weight bytes side by side compress best.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// The raw bytes of every token id, in id order; stored once per stream so that traces can be read
// without a tokenizer.
using Vocabulary = std::vector<std::string>;

// Facts that became known after a group was written: name -> values of every sample, one per token,
// or a single value per sample. The names in use: docs/traces.md.
using Annotations = std::map<std::string, std::vector<std::vector<float>>>;

// The payload of a group. A sample's text costs nothing when it is a prefix of its tokens' bytes,
// which is the usual case. Entropies are kept as half floats (relative error 2^-11, display only),
// log-probs exactly.
std::string encode_group(const Group& group, const Vocabulary& vocabulary);

// The oldest format version that can hold the group: a stream that uses nothing new stays readable
// by older programs.
uint16_t group_version(const Group& group);

// The inverse. Throws Error(kFailed) on bytes that are no such payload; bounded in memory by a
// small multiple of it.
Group decode_group(std::string_view payload, const Vocabulary& vocabulary);

std::string encode_annotation(const std::string& name,
                              const std::vector<std::vector<float>>& values);
void decode_annotation(std::string_view payload, Annotations& into);

std::string encode_vocabulary(const Vocabulary& vocabulary);
Vocabulary decode_vocabulary(std::string_view payload);

}  // namespace zeroth
