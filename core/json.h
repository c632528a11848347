// JSON with its keys in the order of the file, read within bounds.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

using Json = nlohmann::ordered_json;

// Parses JSON with // comments from a file; errors name the file, line and column. Depth and size
// are bounded.
Json read_json_file(const std::filesystem::path& path);
// Same from memory; `source` is named in errors.
Json parse_json(std::string_view text, const std::string& source);

// The candidate closest to `word` by edit distance, or empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace zeroth
