#include "tasks/row_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <list>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/regular_file.h"
#include "core/system.h"
#include "tasks/line_index.h"
#include "tasks/parquet_rows.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargeRows = 200'000, kLargeBytes = int64_t{1} << 30;
// Of a row group that is kept as a whole, and of all that are.
constexpr int64_t kGroupRows = 65'536, kGroupBytes = int64_t{32} << 20;
constexpr size_t kKeptBytes = size_t{48} << 20;
// Rows at the begin of a larger one that are read without writing it out.
constexpr int64_t kHeadRows = 1024;

bool is_parquet(const std::string& file) { return file.ends_with(".parquet"); }

// Whether the first character that is no blank begins an array.
bool begins_with_bracket(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  char text[4096];
  const ssize_t got = fd < 0 ? 0 : ::read(fd, text, sizeof text);
  if (fd >= 0) ::close(fd);
  for (ssize_t i = 0; i < got; ++i) {
    if (std::string(" \t\r\n\xEF\xBB\xBF").find(text[i]) == std::string::npos)
      return text[i] == '[';
  }
  return false;
}

// Texts one after another.
struct Block {
  std::string text;
  std::vector<size_t> ends;

  std::string row(int64_t index) const {
    const auto i = static_cast<size_t>(index);
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return text.substr(begin, ends[i] - begin);
  }
  void add(std::string_view row) {
    text += row;
    ends.push_back(text.size());
  }
};

// A file without a name: gone when it is closed, also by a crash.
int unnamed_file() {
  const char* named = std::getenv("TMPDIR");
  const std::string folder = named && *named ? named : "/var/tmp";
  int fd = system::open_unnamed_file(folder);
  if (fd >= 0) return fd;
  std::string pattern = folder + "/zeroth-rows-XXXXXX";  // a file system without such files
  fd = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (fd >= 0) ::unlink(pattern.c_str());
  return fd;
}

}  // namespace

class RowStore::File {
 public:
  virtual ~File() = default;
  virtual int64_t size() const = 0;
  virtual Row row(int64_t index) const = 0;
};

class RowStore::LinesFile : public File {
 public:
  explicit LinesFile(const std::string& path)
      : path_(path), lines_(::open(path.c_str(), O_RDONLY | O_CLOEXEC), path) {
    lines_.scan();
  }
  int64_t size() const override { return lines_.size(); }
  Row row(int64_t index) const override {
    LineIndex::Line line = lines_.line(index);
    return {std::move(line.text), path_ + ":" + std::to_string(line.number)};
  }

 private:
  std::string path_;
  LineIndex lines_;
};

class RowStore::GroupsFile : public File {
 public:
  explicit GroupsFile(const std::string& path) : path_(path), file_(path) {
    int64_t rows = 0;
    for (int64_t group = 0; group < file_.groups(); ++group)
      ends_.push_back(rows += file_.rows(group));
  }
  int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }
  Row row(int64_t index) const override {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), index);
    const int64_t group = end - ends_.begin();
    const int64_t within = index - (group == 0 ? 0 : ends_[static_cast<size_t>(group) - 1]);
    return {text(group, within), path_ + "[" + std::to_string(index) + "]"};
  }

 private:
  std::string text(int64_t group, int64_t within) const {
    const std::lock_guard lock(mutex_);
    const bool whole = file_.rows(group) <= kGroupRows && file_.bytes(group) <= kGroupBytes;
    if (whole || within < kHeadRows) return block(group, whole).row(within);
    return written(group).line(within).text;
  }

  // The rows of a group, or the first of them, kept while there is room.
  const Block& block(int64_t group, bool whole) const {
    const auto found =
        std::find_if(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.group == group; });
    if (found != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, found);
      return kept_.front().block;
    }
    Block block;
    file_.for_each_row(group, [&](std::string_view row) {
      block.add(row);
      return whole || static_cast<int64_t>(block.ends.size()) < kHeadRows;
    });
    check_count(group, static_cast<int64_t>(block.ends.size()),
                whole ? file_.rows(group) : std::min(kHeadRows, file_.rows(group)));
    kept_.push_front({group, std::move(block)});
    size_t bytes = 0;
    for (auto kept = kept_.begin(); kept != kept_.end();) {
      bytes += kept->block.text.size();
      kept = bytes > kKeptBytes && kept != kept_.begin() ? kept_.erase(kept) : std::next(kept);
    }
    return kept_.front().block;
  }

  const LineIndex& written(int64_t group) const {
    auto& lines = written_[group];
    if (!lines) {
      auto filled =
          std::make_unique<LineIndex>(unnamed_file(), "the rows of " + path_ + " on disk");
      file_.for_each_row(group, [&](std::string_view row) {
        filled->append(row);
        return true;
      });
      filled->flush();
      check_count(group, filled->size(), file_.rows(group));
      lines = std::move(filled);
    }
    return *lines;
  }

  void check_count(int64_t group, int64_t got, int64_t said) const {
    if (got == said) return;
    fail("cannot read " + path_ + ": row group " + std::to_string(group) + " has " +
             std::to_string(got) + " rows instead of " + std::to_string(said),
         "is it a whole Parquet file?");
  }

  struct Kept {
    int64_t group;
    Block block;
  };
  std::string path_;
  ParquetFile file_;
  std::vector<int64_t> ends_;  // of each group's rows
  mutable std::mutex mutex_;
  mutable std::list<Kept> kept_;  // the last one used first
  mutable std::map<int64_t, std::unique_ptr<LineIndex>> written_;
};

bool RowStore::can_open(const std::vector<std::string>& files) {
  return std::all_of(files.begin(), files.end(), [](const std::string& file) {
    return is_parquet(file) || (file.ends_with(".jsonl") && !begins_with_bracket(file));
  });
}

bool RowStore::are_large(const std::vector<std::string>& files) {
  int64_t rows = 0, bytes = 0;
  for (const std::string& path : files) {
    std::error_code error;
    if (!is_parquet(path)) {
      const auto size = fs::file_size(path, error);
      if (!error) bytes += static_cast<int64_t>(size);
    } else if (fs::is_regular_file(path, error)) {
      const ParquetFile file(path);
      for (int64_t group = 0; group < file.groups(); ++group) rows += file.rows(group);
    }
  }
  return rows > kLargeRows || bytes > kLargeBytes;
}

RowStore::RowStore(const std::vector<std::string>& files) {
  int64_t rows = 0;
  for (const std::string& file : files) {
    require_regular_file(file);
    if (is_parquet(file)) {
      files_.push_back(std::make_unique<GroupsFile>(file));
    } else {
      files_.push_back(std::make_unique<LinesFile>(file));
    }
    ends_.push_back(rows += files_.back()->size());
  }
}

RowStore::~RowStore() = default;

int64_t RowStore::size() const { return ends_.empty() ? 0 : ends_.back(); }

RowStore::Row RowStore::row(int64_t index) const {
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), index);
  const auto file = static_cast<size_t>(end - ends_.begin());
  return files_.at(file)->row(index - (file == 0 ? 0 : ends_[file - 1]));
}

}  // namespace zeroth
