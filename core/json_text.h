// How deep JSON text of a stranger may be, and reading it where it may be something else.
//
// parse_json (core/json.h) and these are the only readers of whole values in this program. Comments
// (// and /* */) are skipped; of equal keys the last value counts; the time is linear in the text
// whatever it holds. Any thread may call them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"

namespace zeroth {

// Levels of brackets that are read. A deeper value would exhaust the stack where it is copied or
// written out.
inline constexpr int kMaxJsonDepth = 128;
// For what this program writes itself: a trace or a request holds such a value a few levels down.
inline constexpr int kMaxStoredJsonDepth = kMaxJsonDepth + 32;

// Throws Error (usage) that names `source`, line and column for malformed text, for numbers that no
// double holds and for more than `max_depth` levels.
Json parse_json(std::string_view text, const std::string& source, int max_depth);
// Nothing where parse_json would throw.
std::optional<Json> try_parse_json(std::string_view text, int max_depth = kMaxJsonDepth);

}  // namespace zeroth
