// Rows of Parquet files, read by Apache Arrow in a module of its own (parquet/): Debian 12 has no
// Parquet library, so the program itself links none and works without the module.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace zeroth {

// The module can be loaded: zeroth_parquet.so beside the program or in ../lib/zeroth.
bool has_parquet();

// Calls row(text, place) for every row of the file in order: a JSON object of its columns, and
// "FILE[INDEX]" for errors. One row group is in memory at a time. Throws Error when there is no
// module (with the fix) and when the file is damaged; what `row` throws comes through.
void for_each_parquet_row(
    const std::string& path,
    const std::function<void(std::string_view text, const std::string& place)>& row);

}  // namespace zeroth
