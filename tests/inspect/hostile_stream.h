// Made-up streams and run folders of a stranger, and everything that looks at a run.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "inspect/page.h"
#include "inspect/run_view.h"
#include "record/crc32c.h"
#include "tests/record/samples.h"

namespace zeroth {

// Indexes that do not stand beside their stream go to a folder of the test.
struct Cache {
  TemporaryFolder folder;
  Cache() { ::setenv("XDG_CACHE_HOME", folder.path().c_str(), 1); }
  ~Cache() { ::unsetenv("XDG_CACHE_HOME"); }
};

// A stream made record by record.
class Stream {
 public:
  explicit Stream(const Json& run_info) {
    add(RecordKind::kRun, 0, 0, run_info.dump());
    add(RecordKind::kVocabulary, 0, 0, encode_vocabulary(letters_vocabulary()));
  }
  void add(RecordKind kind, uint32_t step, uint32_t group, std::string_view payload,
           uint32_t claimed_raw = 0) {
    RecordHeader header;
    header.kind = kind;
    header.step = step;
    header.group = group;
    header.offset = bytes_.size();
    header.previous = previous_;
    std::string record = encode_record(header, payload);
    if (claimed_raw != 0) {
      std::memcpy(record.data() + 36, &claimed_raw, 4);
      header.crc = crc32c(record.data(), kRecordHeaderBytes - 4);
      std::memcpy(record.data() + 56, &header.crc, 4);
    }
    previous_ = header.crc;
    bytes_ += record;
  }
  void add(uint32_t step, uint32_t index, const Group& group) {
    add(RecordKind::kGroup, step, index, encode_group(group, letters_vocabulary()));
  }
  void write(const std::filesystem::path& run) const {
    std::filesystem::create_directories(run / "traces");
    std::ofstream(run / "traces" / "stream.zst", std::ios::binary) << bytes_;
    std::ofstream(run / "metrics.jsonl") << R"({"step": 0, "reward": 0.5})"
                                         << "\n";
  }

 private:
  std::string bytes_;
  uint32_t previous_ = 0;
};

inline const Json kCountdown = {{"task", {{"name", "countdown"}, {"options", {{"count", 3}}}}}};

inline bool dumps(const Json& json) {
  return !json.dump(-1, ' ', false, Json::error_handler_t::replace).empty();
}

// Everything that the readers of a run do.
inline void look(const std::filesystem::path& run) {
  RunView view(run);
  view.update();
  const Json steps = view.steps();
  CHECK(dumps(steps));
  CHECK(dumps(view.timeline()));
  CHECK(dumps(view.experts()));
  CHECK(dumps(view.info()));
  CHECK(dumps(view.probes()));
  CHECK(dumps(view.first_ahas(10)));
  for (const Json& row : steps) {
    const auto step = row["step"].get<int64_t>();
    const GroupSource source = row["source"] == "probe" ? GroupSource::kProbe : GroupSource::kTrain;
    CHECK(dumps(view.step(step, source)));
    CHECK(dumps(view.trace({step, 0, 0, source})));
  }
  CHECK(exported_page(view, 20).size() > 1000);
}

inline int64_t samples_of(const std::filesystem::path& run) {
  RunView view(run);
  view.update();
  int64_t n = 0;
  for (const Json& row : view.steps()) n += row["samples"].get<int64_t>();
  return n;
}

inline bool is_link(const std::filesystem::path& path) {
  return std::filesystem::symlink_status(path).type() == std::filesystem::file_type::symlink;
}

}  // namespace zeroth
