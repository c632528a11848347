// What commands print of files that may be a stranger's: nothing of it steers a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace zeroth {

// One line of JSON. Control characters, bidirectional marks and zero-width characters in strings
// are written as \u escapes, so that any reader gets the same values and a terminal shows them.
std::string json_line(const Json& json);
// json_line() and a line feed on standard output.
void print_json(const Json& json);

// Text for a person: printable() where standard output is a terminal; the bytes themselves where it
// is a file or a pipe, since then a program reads them.
std::string shown_text(std::string_view text);

// What a model's files left to the reader (PolicyConfig::notes), a line each on standard error.
void print_notes(const std::vector<std::string>& notes);

}  // namespace zeroth
