#include "core/files.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <csignal>
#include <fstream>

#include "core/error.h"
#include "core/json_lines.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

struct Scratch {
  fs::path path = fs::temp_directory_path() / ("zeroth_files_" + std::to_string(::getpid()));
  Scratch() { fs::create_directories(path); }
  ~Scratch() { fs::remove_all(path); }
};

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an atomic write replaces the whole file and leaves no temporary") {
  Scratch scratch;
  const fs::path path = scratch.path / "a.json";
  write_file_atomic(path, "first");
  write_file_atomic(path, "second, longer");
  CHECK(read_file(path) == "second, longer");
  CHECK(std::distance(fs::directory_iterator(scratch.path), fs::directory_iterator()) == 1);
}

TEST_CASE("a full disk keeps the old file and says so") {
  Scratch scratch;
  const fs::path path = scratch.path / "a.bin";
  write_file_atomic(path, "old");
  const pid_t child = ::fork();
  if (child == 0) {
    // A file size limit stands in for the full disk: the write fails half-way.
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomic(path, std::string(100000, 'x'));
    } catch (const Error& error) {
      ::_exit(std::string(error.what()).find("cannot write") != std::string::npos ? 7 : 8);
    }
    ::_exit(9);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(read_file(path) == "old");
  CHECK(std::distance(fs::directory_iterator(scratch.path), fs::directory_iterator()) == 1);
}

TEST_CASE("reading names the file that is missing, too large or a folder") {
  Scratch scratch;
  CHECK(message([&] { read_file(scratch.path / "none"); }).find("none") != std::string::npos);
  CHECK(message([&] { read_file(scratch.path); }).find("folder") != std::string::npos);
  write_file_atomic(scratch.path / "big", std::string(100, 'x'));
  CHECK(message([&] { read_file(scratch.path / "big", 99); }).find("larger than 99") !=
        std::string::npos);
  CHECK(message([&] { MappedFile map(scratch.path / "none"); }).find("none") != std::string::npos);
}

TEST_CASE("a mapped file also copies bytes, and tells when it was cut meanwhile") {
  Scratch scratch;
  const fs::path path = scratch.path / "file";
  write_file_atomic(path, "0123456789");
  const MappedFile file(path);
  char bytes[4];
  file.read(3, std::as_writable_bytes(std::span(bytes)));
  CHECK(std::string(bytes, 4) == "3456");
  fs::resize_file(path, 5);
  CHECK(message([&] {
          file.read(3, std::as_writable_bytes(std::span(bytes)));
        }).find("ends at byte 5 of 10") != std::string::npos);
}

TEST_CASE("lines come with their numbers, from plain and gzip files alike") {
  Scratch scratch;
  const std::string text = "one\n\nthree\nlast";
  write_file_atomic(scratch.path / "a.txt", text);
  gzFile gz = gzopen((scratch.path / "a.gz").c_str(), "wb");
  gzwrite(gz, text.data(), static_cast<unsigned>(text.size()));
  gzclose(gz);
  for (const char* name : {"a.txt", "a.gz"}) {
    std::vector<std::string> lines;
    int64_t last = 0;
    for_each_line(scratch.path / name, [&](std::string_view line, int64_t number) {
      lines.emplace_back(line);
      last = number;
    });
    CHECK(lines == std::vector<std::string>{"one", "", "three", "last"});
    CHECK(last == 4);
  }
  CHECK(message([&] {
          for_each_line(
              scratch.path / "a.txt", [](std::string_view, int64_t) {}, 3);
        }).find(":3") != std::string::npos);
  std::string cut = read_file(scratch.path / "a.gz");
  cut.resize(cut.size() - 6);
  write_file_atomic(scratch.path / "cut.gz", cut);
  CHECK(message([&] {
          for_each_line(scratch.path / "cut.gz", [](std::string_view, int64_t) {});
        }) != "");
}

TEST_CASE("lines of zstd files: several frames, lines over many blocks, what is cut short") {
  Scratch scratch;
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "line " + std::to_string(i * 7919) + "\n";
  text += std::string(300000, 'x');
  const auto frame = [](std::string_view part) {
    std::string out(ZSTD_compressBound(part.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), part.data(), part.size(), 3));
    return out;
  };
  const std::string packed = frame(std::string_view(text).substr(0, 100001)) +
                             frame(std::string_view(text).substr(100001));
  write_file_atomic(scratch.path / "rows.jsonl.zst", packed);
  std::string read;
  for_each_line(scratch.path / "rows.jsonl.zst", [&](std::string_view line, int64_t number) {
    read.append(line).append(number <= 40000 ? "\n" : "");
  });
  CHECK(read == text);
  write_file_atomic(scratch.path / "cut.zst", packed.substr(0, packed.size() - 9));
  CHECK(message([&] {
          for_each_line(scratch.path / "cut.zst", [](std::string_view, int64_t) {});
        }).find("ends too early") != std::string::npos);
  std::string damaged = packed;
  damaged[damaged.size() / 2] ^= 0x55;
  damaged[20] ^= 0x55;
  write_file_atomic(scratch.path / "damaged.zst", damaged);
  CHECK(message([&] {
          for_each_line(scratch.path / "damaged.zst", [](std::string_view, int64_t) {});
        }) != "");
}

TEST_CASE("a half-written last line is cut off before rows are appended") {
  Scratch scratch;
  const fs::path path = scratch.path / "m.jsonl";
  { JsonLinesWriter(path).write(Json{{"step", 1}}); }
  { std::ofstream(path, std::ios::app) << "{\"step\": 2, \"re"; }
  { JsonLinesWriter(path).write(Json{{"step", 2}}); }
  std::vector<int> steps;
  for_each_json_line(path, [&](const Json& row, int64_t) { steps.push_back(row["step"]); });
  CHECK(steps == std::vector<int>{1, 2});
}

TEST_CASE("a second owner of a folder is told who has it") {
  Scratch scratch;
  FolderLock first(scratch.path);
  const std::string text = message([&] { FolderLock second(scratch.path); });
  CHECK(text.find(std::to_string(::getpid())) != std::string::npos);
}
