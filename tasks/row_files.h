// Which files a data path means: one file, several by a pattern, or a folder of a data set.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace zeroth {

// In the order in which their rows are read:
// - a file as it is;
// - a pattern with *, ? or [..] in its file name or folders: every file that matches, sorted;
// - a folder as data sets are published on Hugging Face: the files of one split, sorted. A file
//   belongs to the split that its name, or a folder above it, has as a word (train, training;
//   validation, valid, val, dev; test, testing, eval, evaluation). FOLDER#test means that split,
//   FOLDER alone the only one there is, or train.
// Read are .jsonl, .json, .jsonl.gz, .jsonl.zst, .json.gz, .json.zst and .parquet; other files of a
// folder are passed over. A file of that very name goes before a pattern and before '#'. Throws
// Error when nothing matches, when the split is not there (naming those that are), and when files
// of one split lie in several folders (subsets: one has to be named).
std::vector<std::string> row_files(const std::string& path);

// The same, empty where row_files would throw: for those who only look.
std::vector<std::string> row_files_if_any(const std::string& path) noexcept;

// The splits that the files below a folder say, subsets together. Throws Error when it cannot be
// read.
std::set<std::string> row_splits(const std::string& folder);

}  // namespace zeroth
