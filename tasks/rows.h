// Rows of data files: JSON Lines or one JSON array of objects (either also compressed by gzip or
// zstd), or Parquet. A path is a file, a pattern or a folder: tasks/row_files.h.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/config.h"

namespace zeroth {

// Calls row(object, place) for every row in order; `place` is "FILE:LINE" (or "FILE[INDEX]" for an
// array), for errors. A row that is itself an array (of chat messages, a line each or in one array)
// becomes {"messages": [..]}. Numbers that neither 64 bits nor a double hold exactly are kept as
// text. Throws Error that names the place when a row is malformed or no object.
void for_each_row(const std::string& path,
                  const std::function<void(const Json& row, const std::string& place)>& row);

// The same with the text of the row as it stands in the file, where integers of any size have their
// digits; Json rounds those that need more than 64 bits.
void for_each_row_text(const std::string& path,
                       const std::function<void(const Json& row, std::string_view text,
                                                const std::string& place)>& row);

// The row that one such text holds, as for_each_row gives it.
Json parse_row(std::string_view text, const std::string& place);

// The JSON text with such numbers in quotes; the text itself when it has none. Linear.
std::string with_exact_numbers(std::string_view json);

}  // namespace zeroth
