// The runs that one page shows: folders of runs are looked through, and a run is opened when it is
// asked for.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "inspect/run_view.h"

namespace zeroth {

// Thread safe. Runs keep their numbers; those that appear later in a folder go to the end.
class RunSet {
 public:
  // Each path is a run or a folder that holds runs (one level down, the newest first). Opens the
  // first run. Throws Error that names the path when it is neither.
  RunSet(const std::vector<std::filesystem::path>& paths,
         std::vector<std::filesystem::path> word_lists);
  ~RunSet();

  // Adds a run and returns its number. Throws Error when the folder is none.
  size_t add(const std::filesystem::path& run);
  size_t size() const;
  // [{"id", "name", "path", "state", "done", "steps", "eta_s", "task", "model", "reward",
  // "held_out" (the newest eval/pass@1 or null), "age_s" (seconds since it last wrote)}]; read from
  // the ends of the runs' files, so that a hundred runs take no longer than their folders.
  Json list();
  // What the stages of pipelines came to, of the folders that `zeroth pipeline` wrote:
  // [{"name", "path", "rows": their summary.json (stages/pipeline_summary.h)}].
  Json stages() const;
  // The run of that number, opened; keeps the eight that were asked for last open, and the first.
  // Throws a usage Error when there is none, an Error when it cannot be read.
  std::shared_ptr<RunView> view(size_t id);
  // Brings the open runs up to date; true when one changed. `progress` as RunView::update.
  bool update(const std::function<bool(int64_t done, int64_t total)>& progress);

 private:
  struct Entry;
  size_t append(const std::filesystem::path& path);
  void look_for_runs();
  std::shared_ptr<RunView> opened(Entry& entry);

  std::vector<std::filesystem::path> folders_, word_lists_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_;
  uint64_t asked_ = 0;
};

}  // namespace zeroth
