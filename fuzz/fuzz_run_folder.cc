// A run folder of a stranger, read by everything that looks at one. The input holds the files, each
// behind a line "==NAME" where NAME is run, group, metrics, config, judge or offsets; run and group
// are payloads of records whose checksums are right.
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "fuzz/cpu_limit.h"
#include "inspect/page.h"
#include "inspect/run_view.h"
#include "record/trace_store.h"

using namespace zeroth;

namespace {

namespace fs = std::filesystem;

fs::path folder() {
  static const fs::path path = [] {
    std::string pattern = "/dev/shm/zeroth-fuzz-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    ::setenv("XDG_CACHE_HOME", pattern.c_str(), 1);
    return fs::path(pattern);
  }();
  return path;
}

class Stream {
 public:
  void add(RecordKind kind, uint32_t group, std::string_view payload) {
    RecordHeader header;
    header.kind = kind;
    header.step = group / 4;
    header.group = group % 4;
    header.flags = group % 3;
    header.offset = bytes_.size();
    header.previous = previous_;
    bytes_ += encode_record(header, payload);
    previous_ = header.crc;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  uint32_t previous_ = 0;
};

void put(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

void write_run(const fs::path& run, std::string_view input) {
  Stream stream;
  std::vector<std::string_view> groups;
  std::string_view info = R"({"task": {"name": "countdown", "options": {"count": 3}}})";
  for (size_t at = 0; at < input.size();) {
    const size_t end = std::min(input.find("\n==", at), input.size());
    const std::string_view part = input.substr(at, end - at);
    const size_t line = std::min(part.find('\n'), part.size());
    const std::string_view name = part.substr(0, line);
    const std::string_view content = part.substr(std::min(line + 1, part.size()));
    if (name == "run") info = content;
    if (name == "group") groups.push_back(content);
    if (name == "metrics") put(run / "metrics.jsonl", content);
    if (name == "config") put(run / "config.json", content);
    if (name == "judge") put(run / "traces" / "judge.jsonl", content);
    if (name == "offsets") put(run / "traces" / "offsets.idx", content);
    at = end + 3;
  }
  stream.add(RecordKind::kRun, 0, info);
  stream.add(RecordKind::kVocabulary, 0, encode_vocabulary({"a", " wait", "24", "<answer>"}));
  for (size_t i = 0; i < groups.size() && i < 16; ++i) {
    std::string payload(groups[i]);
    // A head that is text gets its length, so that the fuzzer need not find it.
    if (!payload.empty() && payload[0] == '{') {
      const size_t brace = payload.rfind('}');
      const auto size =
          static_cast<uint32_t>(brace == std::string::npos ? payload.size() : brace + 1);
      payload.insert(0, reinterpret_cast<const char*>(&size), 4);
    }
    stream.add(i % 5 == 4 ? RecordKind::kAnnotation : RecordKind::kGroup, static_cast<uint32_t>(i),
               payload);
  }
  put(run / "traces" / "stream.zst", stream.bytes());
}

void look(RunView& view) {
  view.update();
  view.info();
  view.timeline();
  view.experts();
  view.probes();
  view.first_ahas(10);
  view.prometheus();
  view.verify();
  for (const Json& row : view.steps()) {
    const auto step = row["step"].get<int64_t>();
    for (const GroupSource source :
         {GroupSource::kTrain, GroupSource::kProbe, GroupSource::kEval}) {
      try {
        view.step(step, source);
        view.trace({step, 0, 0, source});
      } catch (const Error&) {  // there is no such group
      }
    }
  }
  SearchRequest request;
  request.query = "flips>0 or len>0";
  view.search(request);
  exported_page(view, 10);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const CpuLimit limit(5);
  const fs::path run = folder() / "run";
  std::error_code ignored;
  fs::remove_all(run, ignored);
  fs::create_directories(run / "traces");
  write_run(run, {reinterpret_cast<const char*>(data), size});
  try {
    RunView view(run);
    look(view);
  } catch (const Error&) {
  }
  return 0;
}
