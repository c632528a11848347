// How deep JSON text of a stranger may be, and reading it where it may be something else.
//
// parse_json (core/json.h) and these are the only readers of whole values in this program. Comments
// (// and /* */) are skipped; of equal keys the last value counts; the time is linear in the text
// whatever it holds. Any thread may call them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"

namespace zeroth {

// What a text may hold at most.
struct JsonBounds {
  // Levels of brackets. A deeper value would exhaust the stack where it is copied or written out.
  int depth = 128;
  // Members and elements in all. Each costs some 50 bytes of memory, in text perhaps two.
  size_t values = SIZE_MAX;
};

// For what this program writes itself, read from a folder that may be a stranger's: a trace or a
// request holds a value that was read with the bounds above a few levels down.
inline constexpr JsonBounds kStoredJson{160, 4'000'000};

// Throws Error (usage) that names `source`, line and column for malformed text, for numbers that no
// double holds and for more than `bounds`.
Json parse_json(std::string_view text, const std::string& source, const JsonBounds& bounds);
// Nothing where parse_json would throw.
std::optional<Json> try_parse_json(std::string_view text, const JsonBounds& bounds = {});

}  // namespace zeroth
