// Which files a path of rows means.
#include "tasks/row_files.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "tasks/rows.h"
#include "tasks/task.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

// A folder of files, each with one row that holds its path.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("zeroth_row_files_" + std::to_string(::getpid()));
  explicit Folder(std::initializer_list<const char*> files) {
    fs::remove_all(path);
    for (const char* file : files) {
      fs::create_directories((path / file).parent_path());
      std::ofstream(path / file) << "{\"question\": \"" << file << "\", \"answer\": \"1\"}\n";
    }
  }
  ~Folder() { fs::remove_all(path); }

  // What the path means, relative to the folder, joined by blanks; "error: .." when nothing.
  std::string of(const std::string& below) const {
    std::string all;
    try {
      for (const std::string& file : row_files((path / below).string()))
        all += (all.empty() ? "" : " ") + fs::path(file).lexically_relative(path).string();
    } catch (const Error& error) {
      return std::string("error: ") + error.what();
    }
    return all;
  }
};

bool has(const std::string& text, const char* part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("a pattern means every file that matches, sorted") {
  const Folder folder({"b.jsonl", "a.jsonl", "c.txt", "deep/a.jsonl", "odd[1]*.jsonl"});
  CHECK(folder.of("?.jsonl") == "a.jsonl b.jsonl");
  CHECK(folder.of("*/a.jsonl") == "deep/a.jsonl");
  CHECK(folder.of("odd[1]*.jsonl") == "odd[1]*.jsonl");  // a file of that very name
  CHECK(has(folder.of("z*.jsonl"), "no file matches"));
  CHECK(folder.of("missing.jsonl") == "missing.jsonl");  // its reader says so
  CHECK(row_files_if_any((folder.path / "z*.jsonl").string()).empty());
  std::vector<std::string> read;
  for_each_row((folder.path / "?.jsonl").string(), [&](const Json& row, const std::string& place) {
    read.push_back(row["question"].get<std::string>());
    CHECK(place == (folder.path / read.back()).string() + ":1");
  });
  CHECK(read == std::vector<std::string>{"a.jsonl", "b.jsonl"});
}

TEST_CASE("a folder means a split, by the words of its files or of the folders above them") {
  const Folder folder({"data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl",
                       "data/test-00000-of-00001.jsonl", "data/README.md",
                       "data/dataset_infos.json", ".git/train.jsonl"});
  CHECK(folder.of("") == "data/train-00000-of-00002.jsonl data/train-00001-of-00002.jsonl");
  CHECK(folder.of("data#test") == "data/test-00000-of-00001.jsonl");
  CHECK(folder.of("data#eval") == "data/test-00000-of-00001.jsonl");
  const std::string missing = folder.of("data#validation");
  CHECK(has(missing, "no split \"validation\""));
  CHECK(has(missing, "there are test, train"));
  const auto task = make_task("jsonl", {{"path", (folder.path / "data").string()},
                                        {"held_out_path", (folder.path / "data#test").string()}});
  CHECK(task->size(Split::kTrain) == 2);
  CHECK(task->size(Split::kHeldOut) == 1);
}

TEST_CASE("a folder without a word of a split is all there is, subsets have to be named") {
  CHECK(Folder({"rows.jsonl", "more.json"}).of("") == "more.json rows.jsonl");
  CHECK(Folder({"valid.jsonl"}).of("") == "valid.jsonl");  // the only split there is
  CHECK(has(Folder({"valid.jsonl", "test.jsonl"}).of(""), "no split \"train\""));
  const Folder subsets({"main/train.jsonl", "socratic/train.jsonl"});
  CHECK(has(subsets.of(""), "several folders"));
  CHECK(subsets.of("main") == "main/train.jsonl");
  CHECK(row_splits(Folder({"a/train.jsonl", "b/test.jsonl", "c.jsonl"}).path.string()) ==
        std::set<std::string>{"test", "train"});
  CHECK(Folder({"train/a.jsonl", "test/a.jsonl"}).of("#test") == "test/a.jsonl");
  CHECK(Folder({"trainer.jsonl", "latest.jsonl"}).of("") == "latest.jsonl trainer.jsonl");
  CHECK(has(Folder({"data-00000.arrow", "state.json"}).of(""), "to_parquet"));
}

TEST_CASE("a pointer that Git LFS left in place of a file is said, whatever the file should be") {
  const Folder folder({"test.jsonl", "test.parquet"});
  for (const char* name : {"test.jsonl", "test.parquet"}) {
    std::ofstream(folder.path / name)
        << "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    CHECK(has(folder.of(name), "is a Git LFS pointer"));
  }
  CHECK(has(folder.of("#test"), "git lfs pull"));
}
