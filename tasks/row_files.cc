#include "tasks/row_files.h"

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "core/error.h"
#include "text/lfs_pointer.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// Split names by the words that mean them: the rule of Hugging Face's `datasets` library.
const std::map<std::string, std::string> kSplitWords = {
    {"train", "train"},      {"training", "train"}, {"validation", "validation"},
    {"valid", "validation"}, {"val", "validation"}, {"dev", "validation"},
    {"test", "test"},        {"testing", "test"},   {"eval", "test"},
    {"evaluation", "test"}};

bool is_row_file(const std::string& name) {
  for (const char* end :
       {".jsonl", ".json", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst", ".parquet"}) {
    if (name.ends_with(end) && name[0] != '.') return true;
  }
  return false;
}

// What stands beside the rows in such folders.
bool describes_rows(const std::string& name) {
  return name == "dataset_info.json" || name == "dataset_infos.json" || name == "state.json" ||
         name == "dataset_dict.json" || name == "config.json";
}

std::string split_in(const std::string& name) {
  std::string word;
  for (size_t at = 0; at <= name.size(); ++at) {
    const auto c = static_cast<unsigned char>(at < name.size() ? name[at] : '.');
    if (std::isalpha(c)) {
      word += static_cast<char>(std::tolower(c));
      continue;
    }
    if (const auto found = kSplitWords.find(word); found != kSplitWords.end()) return found->second;
    word.clear();
  }
  return {};
}

struct Found {
  std::string split;  // empty: no word says it
  fs::path file;
};

std::vector<Found> files_below(const fs::path& folder) {
  std::vector<Found> found;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error), end;
  if (error) fail("cannot read " + folder.string() + ": " + error.message(), "check the path");
  for (; at != end; at.increment(error)) {
    if (error) fail("cannot read " + folder.string() + ": " + error.message(), "check the path");
    const std::string name = at->path().filename().string();
    if (at->is_directory(error)) {
      if (name[0] == '.') at.disable_recursion_pending();  // .git, .cache
      continue;
    }
    if (!is_row_file(name) || describes_rows(name) || !at->is_regular_file(error)) continue;
    std::string split = split_in(name);
    for (fs::path above = at->path().lexically_relative(folder).parent_path();
         split.empty() && !above.empty(); above = above.parent_path())
      split = split_in(above.filename().string());
    found.push_back({split, at->path()});
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.file < b.file; });
  return found;
}

std::string listed(const std::set<std::string>& names) {
  std::string text;
  size_t shown = 0;
  for (const std::string& name : names) {
    if (++shown > 12) return text + " and " + std::to_string(names.size() - 12) + " more";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

std::vector<std::string> of_folder(const fs::path& folder, std::string split) {
  const std::vector<Found> found = files_below(folder);
  std::set<std::string> splits;
  for (const Found& file : found) {
    if (!file.split.empty()) splits.insert(file.split);
  }
  if (found.empty()) {
    fail("no rows in " + folder.string() + ": no .parquet, .jsonl or .json file (also .gz, .zst)",
         "a data set that was stored by save_to_disk has to be written with to_parquet or to_json");
  }
  if (const auto known = kSplitWords.find(split); known != kSplitWords.end()) split = known->second;
  if (split.empty() && !splits.empty())
    split = splits.size() == 1 ? *splits.begin() : std::string("train");
  std::vector<std::string> files;
  std::set<std::string> folders;
  for (const Found& file : found) {
    if (file.split != split) continue;
    files.push_back(file.file.string());
    folders.insert(file.file.parent_path().string());
  }
  if (files.empty()) {
    fail("no split \"" + split + "\" in " + folder.string(),
         splits.empty() ? "no file name says a split: leave #" + split + " out"
                        : "there are " + listed(splits) + ": write " + folder.string() + "#" +
                              *splits.begin());
  }
  if (folders.size() > 1) {
    fail((split.empty() ? "the files of " : "the split " + split + " of ") + folder.string() +
             (split.empty() ? " lie" : " lies") + " in several folders: " + listed(folders),
         "they are subsets: name the folder of one");
  }
  return files;
}

std::vector<std::string> matches(const std::string& pattern) {
  glob_t all = {};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &all);  // sorted
  std::vector<std::string> files;
  for (size_t i = 0; status == 0 && i < all.gl_pathc; ++i) {
    if (!fs::is_directory(all.gl_pathv[i])) files.emplace_back(all.gl_pathv[i]);
  }
  ::globfree(&all);
  if (files.empty())
    fail("no file matches " + pattern, "check the pattern and the folder it starts from");
  return files;
}

}  // namespace

namespace {

std::vector<std::string> found_files(const std::string& path) {
  if (fs::is_directory(path)) return of_folder(path, "");
  if (fs::exists(path)) return {path};
  if (const size_t hash = path.rfind('#'); hash != std::string::npos) {
    const std::string folder = path.substr(0, hash);
    if (fs::is_directory(folder)) return of_folder(folder, path.substr(hash + 1));
  }
  if (path.find_first_of("*?[") != std::string::npos) return matches(path);
  return {path};  // whoever opens it says that it is missing
}

}  // namespace

std::vector<std::string> row_files(const std::string& path) {
  std::vector<std::string> files = found_files(path);
  for (const std::string& file : files) {
    std::error_code error;
    if (!fs::is_regular_file(file, error)) continue;
    std::string begin(64, '\0');
    std::ifstream stream(file, std::ios::binary);
    stream.read(begin.data(), static_cast<std::streamsize>(begin.size()));
    begin.resize(static_cast<size_t>(stream.gcount()));
    refuse_lfs_pointer(begin, file);  // a data set cloned without LFS
  }
  return files;
}

std::set<std::string> row_splits(const std::string& folder) {
  std::set<std::string> splits;
  for (const Found& file : files_below(folder)) {
    if (!file.split.empty()) splits.insert(file.split);
  }
  return splits;
}

std::vector<std::string> row_files_if_any(const std::string& path) noexcept {
  try {
    return row_files(path);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace zeroth
