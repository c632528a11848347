// Everything that can be asked about a run, as JSON: the one source behind the page, the exported
// file and `zeroth traces`. A stateless reader of files: a run that crashed, moved or still grows
// looks the same.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "inspect/query.h"
#include "inspect/trace_index.h"

namespace zeroth {

// Names a sample for links: "STEP.GROUP.SAMPLE" with ".SOURCE" behind when it was not trained on.
struct SampleAddress {
  int64_t step = 0;
  int64_t group = 0;
  int64_t sample = 0;
  GroupSource source = GroupSource::kTrain;
  std::string text() const;
  // Throws a usage Error that shows the form when `text` is none.
  static SampleAddress parse(const std::string& text);
};

struct SearchRequest {
  std::string query;
  int limit = 50;  // 1..1000
  int64_t offset = 0;
  std::string order = "step";  // "step", "-step", or any numeric field, with - in front: descending
};

// Thread safe: calls are serialised. Errors are Errors; asking for what is not there is a usage
// Error.
class RunView {
 public:
  // Opens RUN. Traces may be missing (then only the timeline has content). `word_lists` are files
  // for read_word_list.
  explicit RunView(const std::filesystem::path& run_dir,
                   const std::vector<std::filesystem::path>& word_lists = {});
  ~RunView();

  // Brings index and metrics up to date. Returns true when something changed. `progress` as
  // TraceIndex::update; the view stays usable from other threads between batches.
  bool update(const std::function<bool(int64_t done, int64_t total)>& progress = {});
  void reindex(const std::function<bool(int64_t done, int64_t total)>& progress = {});
  // Checks every byte of the stream; {"records", "damage": [{"offset", "bytes", "what"}]}.
  Json verify();

  Json info();
  Json timeline();  // {"steps": [..], "series": {name: [..]}} + scanner curves
  Json steps();     // [{"step", "source", "groups", "samples", ..}]
  Json step(int64_t step, GroupSource source);  // groups and samples of a step, histogram data
  Json trace(const SampleAddress& address);     // one sample with its tokens and findings
  Json search(const SearchRequest& request);  // {"total", "exact", "hits": [..]} or {"error", "at"}
  Json problem(const std::string& task,
               const std::string& id);  // every group of a problem, in step order
  Json probes();                        // problems that were sampled at several steps
  Json first_ahas(int limit);
  Json fleet();              // what its workers do; null: none
  Json experts();            // load by step, layer and expert
  std::string prometheus();  // text exposition of the newest row

  // The samples that match, in order, decoded; stops when `each` returns false.
  void for_each_match(
      const SearchRequest& request,
      const std::function<bool(const SampleAddress&, const Group&, const SampleScan&)>& each);
  // Every readable group of the stream in order, without the index.
  void for_each_group(const std::function<bool(const TraceEntry&, const Group&)>& each);

  const std::filesystem::path& run_dir() const;
  const std::vector<WordList>& word_lists() const;  // in the order of SampleScan::words

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
