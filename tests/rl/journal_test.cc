// The journal's lines: written, read back, and refused when a byte of them is not what it was.
#include "rl/journal.h"

#include <doctest/doctest.h>

#include <fstream>
#include <random>

#include "core/error.h"
#include "core/temporary_folder.h"

namespace zeroth {
namespace {

JournalStep made_step(int64_t step) {
  JournalStep out;
  out.step = step;
  out.weights = step + 2;
  for (int g = 0; g < 3; ++g) {
    JournalGroup& group = out.groups.emplace_back();
    group.draw = 3 * step + g;
    group.problem = 100 + g;
    if (g == 1) group.skipped = {7, 9};
    group.dropped = g == 2;
    group.digest = "0123456789abcdef";
    group.samples = {{5, {{0, step}}}, {9, {{0, step}, {4, step + 1}, {8, step + 2}}}};
  }
  return out;
}

std::string made_journal(int steps) {
  std::string text, chain;
  for (int step = 0; step < steps; ++step) text += journal_line(made_step(step), chain) + "\n";
  return text;
}

// Steps of a journal with these bytes, read to its end.
std::vector<JournalStep> read_all(const TemporaryFolder& folder, const std::string& bytes) {
  const auto path = folder.path() / "journal.jsonl";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  JournalReader reader(path);
  std::vector<JournalStep> out;
  while (auto step = reader.next()) out.push_back(std::move(*step));
  return out;
}

TEST_CASE("a journal comes back, line by line") {
  const TemporaryFolder folder("journal");
  const auto steps = read_all(folder, made_journal(4));
  REQUIRE(steps.size() == 4);
  for (int step = 0; step < 4; ++step) CHECK(steps[step] == made_step(step));
  CHECK(read_all(folder, "").empty());
  CHECK_FALSE(JournalReader(folder.path() / "none").next());
}

TEST_CASE("a journal that a run has written is read, and written alike") {
  JournalReader reader("tests/data/journal.jsonl");
  std::string text, chain;
  bool switched = false;
  while (const auto step = reader.next()) {
    text += journal_line(*step, chain) + "\n";
    for (const JournalGroup& group : step->groups) {
      CHECK(group.samples.size() == 4);
      for (const SamplePlan& plan : group.samples) switched = switched || plan.versions.size() > 1;
    }
  }
  CHECK(switched);
  CHECK(text == read_file("tests/data/journal.jsonl"));
}

TEST_CASE("a line that a kill has cut is passed over, and the next one takes its place") {
  const TemporaryFolder folder("journal");
  const auto path = folder.path() / "journal.jsonl";
  const std::string whole = made_journal(3), two = made_journal(2);
  for (size_t n = two.size() + 1; n < whole.size(); n += 5) {
    CHECK(read_all(folder, whole.substr(0, n)).size() == 2);
    JournalReader reader(path);
    while (reader.next()) {
    }
    CHECK(reader.bytes() == two.size());
    JournalWriter(path, reader.bytes(), reader.chain()).append(made_step(2));
    CHECK(read_file(path) == whole);
  }
}

TEST_CASE("a journal may begin at any step, and goes on with the next") {
  const TemporaryFolder folder("journal");
  std::string chain, text = journal_line(made_step(5), chain) + "\n";
  std::string gap = chain;
  const std::string six = journal_line(made_step(6), chain),
                    eight = journal_line(made_step(8), gap);
  CHECK(read_all(folder, text + six + "\n").size() == 2);
  CHECK_THROWS_WITH_AS(read_all(folder, text + eight + "\n"),
                       doctest::Contains("of step 8 instead of 6"), Error);
}

TEST_CASE("a byte that is not what it was is an error that names the line") {
  const TemporaryFolder folder("journal");
  const std::string whole = made_journal(3);
  std::mt19937 random(3);
  for (int i = 0; i < 600; ++i) {
    std::string bytes = whole;
    const size_t at = random() % (bytes.size() - 1);  // the last line feed may be missing
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    CAPTURE(at);
    CHECK_THROWS_WITH_AS(read_all(folder, bytes), doctest::Contains("journal.jsonl:"), Error);
  }
  const size_t second = whole.find('\n') + 1, third = whole.find('\n', second) + 1;
  CHECK_THROWS_AS(read_all(folder, whole.substr(0, second) + whole.substr(third)), Error);
  // Without its first line the chain does not begin.
  CHECK_THROWS_AS(read_all(folder, whole.substr(second)), Error);
}

TEST_CASE("lines that are signed and make no sense are refused with a reason") {
  const auto refused = [](const JournalStep& step, const char* why) {
    std::string chain, before;
    const std::string line = journal_line(step, chain);
    CHECK_THROWS_WITH_AS(parse_journal_line(line, -1, before), doctest::Contains(why), Error);
  };
  JournalStep step = made_step(1);
  step.groups[0].samples[0].versions = {{0, 4}};
  refused(step, "version");  // newer than the step's weights
  step = made_step(1);
  step.groups[0].samples[1].versions[1].first = 9;
  refused(step, "first token");
  step = made_step(1);
  step.groups[0].samples[1].versions[1].version = 1;
  refused(step, "not in order");
  step = made_step(1);
  step.groups[0].samples[0].versions[0].first = 1;
  refused(step, "not in order");
  step = made_step(1);
  step.groups[0].samples[0].tokens = 0;
  refused(step, "no tokens");
  step = made_step(1);
  step.groups[0].samples[0].versions.clear();
  refused(step, "segments");
  step = made_step(1);
  step.groups[0].digest = "12";
  refused(step, "sha256");
  step = made_step(1);
  step.groups[0].draw = -1;
  refused(step, "draw");
}

}  // namespace
}  // namespace zeroth
