#include "core/cut_file.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"

using namespace zeroth;
namespace fs = std::filesystem;

TEST_CASE("a cut file keeps its beginning, and its end lies aside") {
  const fs::path folder = fs::temp_directory_path() / ("zeroth_cut_" + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  const fs::path file = folder / "rows";
  const fs::path aside = folder / "aside";
  std::string text;
  for (int i = 0; i < 300000; ++i) text += std::to_string(i) + "\n";  // more than one piece
  write_file_atomic(file, text);

  cut_file(file, text.size(), aside);
  cut_file(folder / "missing", 0, aside);
  CHECK(!fs::exists(aside));

  cut_file(file, 1000, aside);
  CHECK(read_file(file) == text.substr(0, 1000));
  CHECK(read_file(aside / "rows") == text.substr(1000));

  // A second cut of fewer bytes does not replace what lies there; one of more does.
  cut_file(file, 900, aside);
  CHECK(read_file(file) == text.substr(0, 900));
  CHECK(read_file(aside / "rows") == text.substr(1000));
  write_file_atomic(file, text);
  cut_file(file, 500, aside);
  CHECK(read_file(aside / "rows") == text.substr(500));

  // Nothing is cut when it cannot be kept.
  const fs::path blocked = folder / "blocked";
  write_file_atomic(blocked, "");
  CHECK_THROWS_AS(cut_file(file, 0, blocked), Error);
  CHECK(read_file(file) == text.substr(0, 500));

  cut_file(file, 0);
  CHECK(read_file(file).empty());
  fs::remove_all(folder);
}
