#include "inspect/run_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/json_text.h"
#include "core/regular_file.h"
#include "core/version.h"
#include "inspect/run_state.h"
#include "inspect/run_view_impl.h"
#include "record/newest_metrics.h"
#include "record/trace_scan.h"

namespace zeroth {

namespace fs = std::filesystem;

std::string SampleAddress::text() const {
  std::string out =
      std::to_string(step) + "." + std::to_string(group) + "." + std::to_string(sample);
  return source == GroupSource::kTrain ? out : out + "." + to_string(source);
}

namespace {

std::optional<GroupSource> source_of(std::string_view name) {
  for (uint32_t i = 0; i < 4; ++i) {
    if (name == to_string(static_cast<GroupSource>(i))) return static_cast<GroupSource>(i);
  }
  return std::nullopt;
}

}  // namespace

SampleAddress SampleAddress::parse(const std::string& text) {
  long long step = 0;
  long long group = 0;
  long long sample = 0;
  char source[16] = "train";
  int used = 0;
  const int fields = std::sscanf(text.c_str(), "%lld.%lld.%lld%n", &step, &group, &sample, &used);
  bool good = fields == 3 && step >= 0 && group >= 0 && sample >= 0;
  if (good && static_cast<size_t>(used) < text.size()) {
    int more = 0;
    good = std::sscanf(text.c_str() + used, ".%15[a-z]%n", source, &more) == 1 &&
           static_cast<size_t>(used + more) == text.size();
  }
  const auto parsed = good ? source_of(source) : std::nullopt;
  if (!parsed) {
    fail_usage("\"" + text + "\" names no sample",
               "write STEP.GROUP.SAMPLE, for example 80.3.5, with .probe, .eval or .discarded "
               "behind when it was "
               "not trained on");
  }
  return {step, group, sample, *parsed};
}

namespace {

constexpr uint64_t kMaxConfig = 16 << 20;

}  // namespace

RunView::Impl::Impl(const fs::path& dir, const std::vector<fs::path>& word_lists)
    : run_dir(dir), metrics(dir / "metrics.jsonl") {
  if (!fs::is_directory(dir)) {
    fail("there is no run folder " + dir.string(),
         "give the folder that \"zeroth train --out\" wrote");
  }
  if (!fs::exists(dir / "metrics.jsonl") && !fs::exists(dir / "traces" / kStreamName)) {
    fail(dir.string() + " is no run: it has neither metrics.jsonl nor traces/stream.zst",
         "give the folder that \"zeroth train --out\" wrote");
  }
  ScanOptions options;
  for (const fs::path& path : word_lists) options.word_lists.push_back(read_word_list(path));
  metrics.refresh();
  read_config();
  if (fs::exists(dir / "traces" / kStreamName)) {
    reader = std::make_unique<TraceReader>(dir / "traces");
    task = task_of_run(reader->run_info(), &no_task);
  }
  scanner = std::make_unique<SampleScanner>(task.get(), std::move(options));
  open_traces();
}

// A resumed run writes its config again, with what was changed.
bool RunView::Impl::read_config() {
  const fs::path path = run_dir / "config.json";
  std::error_code error;
  const auto written = fs::last_write_time(path, error);
  if (error || written == config_written) return false;
  config_written = written;
  try {
    require_regular_file(path);
    config = parse_json(read_file(path, kMaxConfig), path.string(), kStoredJson);
  } catch (const Error&) {  // shown on the page only
    config = nullptr;
  }
  return true;
}

void RunView::Impl::open_traces() {
  if (db) return;
  if (!reader) {
    if (!fs::exists(run_dir / "traces" / kStreamName)) return;
    // The scanner was made without a task; flips need one, so it is made again.
    ScanOptions options;
    for (size_t i = built_in_word_lists().size(); i < scanner->lists().size(); ++i) {
      options.word_lists.push_back(scanner->lists()[i]);
    }
    reader = std::make_unique<TraceReader>(run_dir / "traces");
    task = task_of_run(reader->run_info(), &no_task);
    scanner = std::make_unique<SampleScanner>(task.get(), std::move(options));
  }
  index_reader = std::make_unique<TraceReader>(run_dir / "traces");
  index = std::make_unique<TraceIndex>(run_dir, *scanner);
  db = std::make_unique<Database>(index->path());
  db->exec("PRAGMA cache_size = -32000; PRAGMA query_only = ON;");
}

void RunView::Impl::need_traces() const {
  if (!db) {
    fail("the run " + run_dir.string() + " has no traces",
         "set \"traces\": true in the run's \"record\" options, then train");
  }
}

std::vector<std::string> RunView::Impl::extra_fields() const {
  std::vector<std::string> fields;
  for (size_t i = built_in_word_lists().size(); i < scanner->lists().size(); ++i) {
    fields.push_back(scanner->lists()[i].name);
  }
  for (const auto& own : scanner->scanners()) fields.push_back(own->name());
  return fields;
}

std::vector<RunView::Impl::GroupRow> RunView::Impl::group_rows(const std::string& where,
                                                               const std::vector<int64_t>& values) {
  Statement get(
      *db,
      "SELECT g.id, g.step, g.idx, g.source, g.offset, g.first_sample, g.n, g.zero, "
      "g.reward, g.correct, "
      "p.task, p.name, g.failed FROM groups g JOIN problems p ON p.id = g.problem WHERE " +
          where);
  for (size_t i = 0; i < values.size(); ++i) get.bind(static_cast<int>(i) + 1, values[i]);
  std::vector<GroupRow> rows;
  while (get.step()) {
    GroupRow row;
    row.id = get.integer(0);
    row.step = get.integer(1);
    row.index = get.integer(2);
    row.source = static_cast<GroupSource>(get.integer(3));
    row.offset = get.integer(4);
    row.first_sample = get.integer(5);
    row.n = get.integer(6);
    row.zero = get.integer(7) != 0;
    row.reward = get.real(8);
    row.correct = get.integer(9);
    row.task = get.text(10);
    row.problem = get.text(11);
    row.failed = get.integer(12);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<RunView::Impl::GroupRow> RunView::Impl::find_group(const SampleAddress& address) {
  auto rows = group_rows("g.step = ? AND g.idx = ? AND g.source = ? ORDER BY g.id",
                         {address.step, address.group, static_cast<int64_t>(address.source)});
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

const TraceEntry& RunView::Impl::entry_at(int64_t offset) const {
  const auto find = [&] {
    const auto& groups = reader->groups();
    return std::lower_bound(
        groups.begin(), groups.end(), static_cast<uint64_t>(offset),
        [](const TraceEntry& entry, uint64_t wanted) { return entry.offset < wanted; });
  };
  auto at = find();
  if (at == reader->groups().end()) {
    reader->refresh();
    at = find();
  }
  if (at == reader->groups().end() || at->offset != static_cast<uint64_t>(offset)) {
    fail("the trace stream has changed since it was indexed", "try again in a moment");
  }
  return *at;
}

std::vector<std::pair<int64_t, StepStats>> RunView::Impl::step_stats(GroupSource source) {
  std::vector<std::pair<int64_t, StepStats>> out;
  Statement get(*db, "SELECT step, stats FROM steps WHERE source = ? ORDER BY step");
  get.bind(1, static_cast<int64_t>(source));
  while (get.step()) out.emplace_back(get.integer(0), stored_stats(get.text(1)));
  return out;
}

RunView::RunView(const fs::path& run_dir, const std::vector<fs::path>& word_lists)
    : impl_(std::make_unique<Impl>(run_dir, word_lists)) {}

RunView::~RunView() = default;

const fs::path& RunView::run_dir() const { return impl_->run_dir; }

const std::vector<WordList>& RunView::word_lists() const { return impl_->scanner->lists(); }

bool RunView::update(const std::function<bool(int64_t, int64_t)>& progress) {
  std::lock_guard indexing(impl_->index_mutex);
  bool changed = false;
  {
    std::lock_guard lock(impl_->mutex);
    changed = impl_->metrics.refresh();
    changed = impl_->read_config() || changed;
    const bool running = is_running(impl_->run_dir);
    changed = std::exchange(impl_->running, running) != running || changed;
    impl_->open_traces();
    if (impl_->reader) impl_->reader->refresh();
  }
  if (!impl_->index) return changed;
  impl_->index_reader->refresh();
  const int64_t added =
      impl_->index->update(*impl_->index_reader, [&](int64_t done, int64_t total) {
        impl_->indexed = done;
        impl_->to_index = total;
        return !progress || progress(done, total);
      });
  impl_->index_judgements();
  impl_->to_index = impl_->indexed = static_cast<int64_t>(impl_->index_reader->groups().size());
  return changed || added > 0;
}

void RunView::reindex(const std::function<bool(int64_t, int64_t)>& progress) {
  impl_->need_traces();
  {
    std::lock_guard indexing(impl_->index_mutex);
    impl_->index->clear();
  }
  update(progress);
}

Json RunView::verify() {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  TraceReader reader(impl_->run_dir / "traces");
  reader.refresh(/*verify=*/true);
  Json damage = Json::array();
  for (const TraceDamage& part : reader.damage()) {
    damage.push_back({{"offset", part.offset}, {"bytes", part.bytes}, {"what", part.what}});
  }
  return {{"groups", reader.groups().size()}, {"bytes", reader.end()}, {"damage", damage}};
}

Json RunView::fleet() { return fleet_state(impl_->run_dir); }

Json RunView::info() {
  std::lock_guard lock(impl_->mutex);
  Json out = {{"run", fs::weakly_canonical(impl_->run_dir).filename().string()},
              {"path", fs::absolute(impl_->run_dir).lexically_normal().string()},
              {"zeroth", version_string()},
              {"traces", impl_->db != nullptr}};
  const auto& steps = impl_->metrics.steps();
  out["last_step"] = steps.empty() ? Json(nullptr) : Json(steps.back());
  out["config"] = impl_->config;
  out["run_state"] = run_state(impl_->run_dir, impl_->config, impl_->metrics);
  out["alarms"] = alarm_list(impl_->metrics);
  out["fleet"] = fleet_state(impl_->run_dir).is_object();
  Json lists = Json::array();
  for (const WordList& list : impl_->scanner->lists()) {
    lists.push_back({{"name", list.name},
                     {"version", list.version},
                     {"source", list.source},
                     {"reflection", list.reflection},
                     {"words", list.words}});
  }
  out["lists"] = lists;
  Json fields = Json::array();
  for (const QueryField& field : query_fields())
    fields.push_back({{"name", field.name}, {"help", field.help}});
  for (const std::string& field : impl_->extra_fields())
    fields.push_back({{"name", field}, {"help", "own"}});
  fields.push_back({{"name", "text"}, {"help", "words of the completion: text~\"wait\""}});
  out["fields"] = fields;
  if (impl_->db) {
    Statement count(*impl_->db, "SELECT coalesce(max(id), 0) FROM samples");
    count.step();
    out["samples"] = count.integer(0);
    out["indexed"] = impl_->indexed.load();
    out["to_index"] = impl_->to_index.load();
    out["stream_bytes"] = impl_->reader->end();
    out["damage"] = impl_->reader->damage().size();
    out["run_info"] = impl_->reader->run_info();
    out["no_task"] = impl_->no_task;
  }
  return out;
}

std::string RunView::prometheus() {
  std::lock_guard lock(impl_->mutex);
  return prometheus_text(impl_->metrics.last());
}

}  // namespace zeroth
