// Rows of large files by number, and problems that are read as they are drawn.
#include "tasks/row_store.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "core/error.h"
#include "tasks/line_index.h"
#include "tasks/rows.h"
#include "tasks/task.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("zeroth_row_store_" + std::to_string(::getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return (path / name).string();
  }
};

std::string question(int i, const std::string& answer) {
  return "{\"question\": \"What is " + std::to_string(i) + "?\", \"answer\": \"" + answer + "\"}\n";
}

std::string questions(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += question(i, std::to_string(i));
  return text;
}

std::string fault_of(const std::string& spec, int64_t index = -1) {
  try {
    const auto task = make_task(spec);
    task->size(Split::kTrain);
    if (index >= 0) task->problem(Split::kTrain, index);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("lines by number: blank ones, long ones, a last one without a line feed") {
  const Folder folder;
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    if (i % 7 == 0) text += i % 2 ? "\n" : " \t\r\n";
    text += "{\"i\": " + std::to_string(i) + ", \"x\": \"" +
            std::string(i % 50 == 3 ? 70'000 : 3, 'x') + "\"}";
    if (i < 999) text += '\n';
  }
  const std::string file = folder.write("a.jsonl", text);
  std::vector<std::string> texts, places;
  for_each_row_text(file, [&](const Json&, std::string_view row, const std::string& place) {
    texts.emplace_back(row);
    places.push_back(place);
  });
  const RowStore store({file});
  REQUIRE(store.size() == 1000);
  for (const int64_t i : {999, 0, 500, 64, 63, 65, 3, 53, 998}) {
    CHECK(store.row(i).text == texts[static_cast<size_t>(i)]);
    CHECK(store.row(i).place == places[static_cast<size_t>(i)]);
  }
  fs::resize_file(file, 10);
  CHECK_THROWS_AS(store.row(999), Error);
}

TEST_CASE("lines that are written can be read before and behind a flush") {
  const Folder folder;
  LineIndex lines(::open((folder.path / "rows").c_str(), O_RDWR | O_CREAT, 0600), "rows");
  for (int i = 0; i < 300; ++i) lines.append(std::string(static_cast<size_t>(i * 40 + 1), 'a'));
  lines.flush();
  REQUIRE(lines.size() == 300);
  for (const int64_t i : {0, 63, 64, 128, 299}) CHECK(lines.line(i).text.size() == i * 40 + 1);
}

TEST_CASE("several files are one after another; what cannot be read by number is said") {
  const Folder folder;
  const std::string a = folder.write("a.jsonl", questions(70)), none = folder.write("b.jsonl", ""),
                    c = folder.write("c.jsonl", questions(3));
  const RowStore store({a, none, c});
  REQUIRE(store.size() == 73);
  CHECK(store.row(69).place == a + ":70");
  CHECK(store.row(70).place == c + ":1");
  CHECK(RowStore::can_open({a, c}));
  CHECK_FALSE(RowStore::can_open({a, folder.write("x.jsonl.gz", "")}));
  CHECK_FALSE(RowStore::can_open({folder.write("array.jsonl", " \n[{}]")}));
  CHECK_FALSE(RowStore::are_large({a, c}));
  CHECK_THROWS_AS(RowStore({"/dev/zero"}), Error);
}

TEST_CASE("streamed problems: the splits of a file that is read whole, without its order") {
  const Folder folder;
  const std::string file = folder.write("a.jsonl", questions(3000));
  const auto whole = make_task("gsm8k:streaming=off,path=" + file);
  const auto streamed = make_task("gsm8k:streaming=on,path=" + file);
  CHECK(whole->reads_rows());
  CHECK_FALSE(streamed->reads_rows());
  CHECK(streamed->size(Split::kTrain) == 3000);
  CHECK(streamed->size(Split::kHeldOut) == 300);
  std::set<std::string> ids[2];
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    const bool held_out = split == Split::kHeldOut;
    std::set<std::string> all;
    for (int64_t i = 0; i < whole->size(split); ++i) all.insert(whole->problem(split, i).id);
    for (int64_t i = 0; i < streamed->size(split); ++i) {
      const Problem problem = streamed->problem(split, i);
      CHECK(problem.prompt == streamed->problem(split, i).prompt);
      ids[held_out].insert(problem.id);
    }
    for (const std::string& id : ids[held_out]) CHECK(all.contains(id));
    if (!held_out) CHECK(ids[0] == all);
  }
  CHECK(ids[1].size() > 150);
  CHECK(has(streamed->notes().back(), "3,000 rows"));
}

TEST_CASE("streamed problems: a held-out file's prompts are not trained on") {
  const Folder folder;
  const std::string file = folder.write("a.jsonl", questions(100));
  const std::string held_out = folder.write("b.jsonl", question(0, "0") + question(99, "99"));
  const auto task = make_task("gsm8k:streaming=on,path=" + file + ",held_out_path=" + held_out);
  CHECK(task->size(Split::kHeldOut) == 2);
  CHECK(task->problem(Split::kHeldOut, 1).answer == "99");
  CHECK(task->problem(Split::kTrain, 0).answer == "1");
  CHECK(task->problem(Split::kTrain, 99).answer == "1");  // goes on at the first row
  const auto evaluated = make_task("gsm8k:streaming=on,path=" + file + ",held_out_path=" + file);
  CHECK(evaluated->size(Split::kTrain) == 0);
  CHECK(evaluated->problem(Split::kHeldOut, 42).answer == "42");
  CHECK(evaluated->origin(Split::kHeldOut, 42).place == file + ":43");
}

TEST_CASE("streamed problems: bad rows") {
  const Folder folder;
  const std::string first =
      folder.write("a.jsonl", questions(10) + question(10, "none") + questions(5));
  CHECK(has(fault_of("gsm8k:streaming=on,path=" + first), first + ":11"));
  const std::string late = folder.write(
      "b.jsonl", questions(2000) + question(2000, "none") + "{\"question\": 1}\n" + questions(10));
  CHECK(fault_of("gsm8k:streaming=on,path=" + late) == "none");
  CHECK(has(fault_of("gsm8k:streaming=on,path=" + late, 2000), late + ":2001"));
  const auto task = make_task("gsm8k:streaming=on,bad_rows=drop,path=" + late);
  CHECK(task->problem(Split::kTrain, 2000).id == task->problem(Split::kTrain, 2002).id);
  CHECK(has(fault_of("gsm8k:streaming=on,filter=a=b,path=" + late), "filter"));
  const std::string zipped = folder.write("c.json", "[]");
  CHECK(has(fault_of("gsm8k:streaming=on,path=" + zipped), "by number"));
}
