#include "inspect/trace_index.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "inspect/index_file.h"
#include "inspect/packed_counts.h"
#include "tasks/options.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int kIndexVersion = 3;
// A batch is one transaction and is held in memory.
constexpr size_t kBatchGroups = 256;
constexpr uint64_t kBatchBytes = 16 << 20;
// What SQLite is given of a text, and of names: larger ones are hostile and would be refused.
constexpr size_t kMaxIndexedText = 64 << 20;
constexpr size_t kMaxName = 1 << 20;
constexpr size_t kWordColumns = 7;  // the built-in lists; more lists go to the table `extra`

constexpr char kSchema[] = R"(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE problems(id INTEGER PRIMARY KEY, task TEXT, name TEXT, UNIQUE(task, name));
CREATE TABLE groups(id INTEGER PRIMARY KEY, step INT, idx INT, source INT, problem INT, offset INT,
                    first_sample INT, n INT, zero INT, reward REAL, correct INT, failed INT);
CREATE INDEX groups_step ON groups(step);
CREATE INDEX groups_problem ON groups(problem);
CREATE TABLE samples(id INTEGER PRIMARY KEY, grp INT, reward INT, adv INT, len INT, flags INT,
                     wr INT, aha INT, refl INT, rest BLOB);
CREATE TABLE steps(step INT, source INT, stats TEXT, PRIMARY KEY(step, source)) WITHOUT ROWID;
CREATE TABLE extra(sample INT, field TEXT, value REAL, PRIMARY KEY(field, sample)) WITHOUT ROWID;
CREATE VIRTUAL TABLE texts USING fts5(text, content='', detail=none, columnsize=0,
                                      tokenize="unicode61 remove_diacritics 0");
)";

// One group, read and scanned, ready to be inserted.
struct Prepared {
  const TraceEntry* entry = nullptr;
  Group group;
  std::vector<SampleScan> scans;
  std::vector<int64_t> first_token;  // [samples] tokens before the first right candidate, or -1
  bool readable = false;
};

// |mean| in thousandths; entropies are never negative, log-probs never positive.
// Of tokens that the policy drew: those of an environment have zeros.
uint64_t milli_mean(const Sample& sample, const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += std::isfinite(value) ? value : 0.0f;
  if (values.empty()) return 0;
  const auto others = static_cast<int64_t>(sample.tokens.size()) - drawn_tokens(sample);
  const int64_t count = std::max<int64_t>(1, static_cast<int64_t>(values.size()) - others);
  const double mean = std::abs(sum) / static_cast<double>(count);
  return static_cast<uint64_t>(std::llround(1000 * std::min(mean, 1e12)));
}

int64_t scaled(double value) { return std::llround(std::clamp(kRewardScale * value, -9e18, 9e18)); }

std::string packed_row(const Sample& sample, const SampleScan& scan, int64_t first_token) {
  std::array<uint64_t, static_cast<size_t>(PackedField::kCount)> counts{};
  const auto put = [&](PackedField field, auto value) {
    counts[static_cast<size_t>(field)] = static_cast<uint64_t>(value);
  };
  put(PackedField::kEntropy, milli_mean(sample, sample.entropies));
  put(PackedField::kLogprob, milli_mean(sample, sample.logprobs));
  put(PackedField::kRepetition, std::llround(100 * scan.repetition));
  put(PackedField::kCandidates, scan.candidates.size());
  put(PackedField::kFirst, first_token + 1);
  put(PackedField::kRightToWrong, scan.flips[static_cast<size_t>(Flip::kRightToWrong)]);
  put(PackedField::kRightToRight, scan.flips[static_cast<size_t>(Flip::kRightToRight)]);
  put(PackedField::kWrongToWrong, scan.flips[static_cast<size_t>(Flip::kWrongToWrong)]);
  put(PackedField::kSwitches, scan.language_switches);
  for (size_t list = 0; list < kWordColumns; ++list) {
    counts[static_cast<size_t>(PackedField::kWords) + list] =
        static_cast<uint64_t>(scan.words[list]);
  }
  return pack_counts(counts);
}

std::vector<uint32_t> token_begins(const Sample& sample, const Vocabulary& vocabulary) {
  std::vector<uint32_t> begins;
  uint64_t at = 0;
  const std::vector<uint8_t> drawn = drawn_mask(sample);  // the text is the policy's alone
  size_t turn = 0;
  for (size_t t = 0; t < sample.tokens.size(); ++t) {
    const TokenId id = sample.tokens[t];
    for (; turn < sample.turns.size() && static_cast<size_t>(sample.turns[turn].end) <= t; ++turn)
      at = std::max<uint64_t>(begins.empty() ? 0 : begins.back(),
                              sample.turns[turn].text_end);  // without the end-of-text
    begins.push_back(static_cast<uint32_t>(std::min<uint64_t>(at, UINT32_MAX)));
    if ((drawn.empty() || drawn[t] != 0) && id >= 0 &&
        static_cast<size_t>(id) < vocabulary.size()) {
      at += vocabulary[static_cast<size_t>(id)].size();
    }
  }
  return begins;
}

Prepared prepare(const TraceEntry& entry, const TraceReader& reader, const SampleScanner& scanner) {
  Prepared prepared;
  prepared.entry = &entry;
  try {
    prepared.group = reader.read(entry);
    const Problem& problem = prepared.group.problem;
    if (problem.id.size() + problem.task.size() > kMaxName) return prepared;
  } catch (const Error&) {
    return prepared;  // a damaged record: the others are still indexed
  }
  prepared.scans = scanner.scan(prepared.group);
  for (size_t i = 0; i < prepared.scans.size(); ++i) {
    const int64_t byte = prepared.scans[i].first_correct;
    const auto begins = token_begins(prepared.group.samples[i], reader.vocabulary());
    prepared.first_token.push_back(
        byte < 0 ? -1 : static_cast<int64_t>(token_at(begins, static_cast<uint32_t>(byte))));
  }
  prepared.readable = true;
  return prepared;
}

}  // namespace

struct TraceIndex::Impl {
  fs::path path;
  const SampleScanner& scanner;
  std::unique_ptr<Database> db;
  ExpertShape experts;

  explicit Impl(const fs::path& run_dir, const SampleScanner& with)
      : path(index_file(run_dir)), scanner(with) {
    try {
      open();
    } catch (const Error&) {
      // A file that is no database, or a broken one: it holds nothing that the stream does not.
      db.reset();
      remove_index(path);
      open();
    }
  }

  std::string wanted_version() const {
    return std::to_string(kIndexVersion) + "; " + scanner.fingerprint();
  }

  std::string meta(const std::string& key) const {
    Statement get(*db, "SELECT value FROM meta WHERE key = ?");
    get.bind(1, key);
    return get.step() ? get.text(0) : "";
  }

  void set_meta(const std::string& key, const std::string& value) {
    Statement(*db, "INSERT OR REPLACE INTO meta VALUES(?, ?)").bind(1, key).bind(2, value).run();
  }

  void open() {
    db = std::make_unique<Database>(path);
    // The mark of ours goes first: another process must not meet a database without it.
    if (application_id() != kIndexApplicationId)
      db->exec("PRAGMA application_id = " + std::to_string(kIndexApplicationId));
    // The index can be rebuilt, so it need not survive a power cut: no sync at every commit.
    db->exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;");
    const std::string schema = schema_of(*db);
    if (schema == wanted_schema() && meta("version") == wanted_version()) return;
    if (schema.empty() || schema == wanted_schema()) return recreate();
    // Tables of another version, or a stranger's views and triggers: not even dropped.
    fail("trace index " + path.string() + " has other tables");
  }

  int64_t application_id() const {
    Statement get(*db, "PRAGMA application_id");
    return get.step() ? get.integer(0) : 0;
  }

  // What the database defines, as text; empty when nothing.
  static std::string schema_of(const Database& db) {
    Statement get(db,
                  "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master "
                  "ORDER BY type, name");
    std::string text;
    while (get.step()) text += get.text(0) + "\n";
    return text;
  }

  static const std::string& wanted_schema() {
    static const std::string schema = [] {
      Database memory(":memory:");
      memory.exec(kSchema);
      return schema_of(memory);
    }();
    return schema;
  }

  void recreate() {
    db->exec("BEGIN IMMEDIATE");
    std::vector<std::string> names;
    {
      Statement tables(*db,
                       "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('meta', "
                       "'problems', 'groups', 'samples', 'steps', 'extra', 'texts')");
      while (tables.step()) names.push_back(tables.text(0));
    }
    for (const std::string& name : names) db->exec("DROP TABLE " + name);
    db->exec(kSchema);
    set_meta("version", wanted_version());
    db->exec("COMMIT");
  }

  // Which record the index has reached; nothing when the stream is another one by now.
  std::optional<size_t> position(const TraceReader& reader) const {
    const std::string last = meta("last");  // "offset crc count"
    if (last.empty()) return 0;
    const auto& groups = reader.groups();
    uint64_t offset = 0;
    unsigned crc = 0;
    unsigned long long parsed = 0;
    if (std::sscanf(last.c_str(), "%llu %u", &parsed, &crc) != 2) return std::nullopt;
    offset = parsed;
    const auto at = std::lower_bound(
        groups.begin(), groups.end(), offset,
        [](const TraceEntry& entry, uint64_t wanted) { return entry.offset < wanted; });
    if (at == groups.end() || at->offset != offset || at->crc != crc) return std::nullopt;
    return static_cast<size_t>(at - groups.begin()) + 1;
  }

  int64_t problem_id(const Problem& problem) {
    Statement get(*db, "SELECT id FROM problems WHERE task = ? AND name = ?");
    get.bind(1, problem.task).bind(2, problem.id);
    if (get.step()) return get.integer(0);
    Statement(*db, "INSERT INTO problems(task, name) VALUES(?, ?)")
        .bind(1, problem.task)
        .bind(2, problem.id)
        .run();
    return db->last_id();
  }

  int64_t insert_group(const Prepared& item) {
    double reward = 0;
    int64_t correct = 0;
    int64_t failed = 0;
    for (size_t i = 0; i < item.scans.size(); ++i) {
      if (std::abs(item.group.samples[i].reward) < 1e100) reward += item.group.samples[i].reward;
      correct += item.scans[i].correct;
      failed += item.scans[i].failed;
    }
    const auto n = static_cast<int64_t>(item.scans.size());
    Statement insert(
        *db,
        "INSERT INTO groups(step, idx, source, problem, offset, first_sample, n, zero, reward, "
        "correct, failed) VALUES(?, ?, ?, ?, ?, (SELECT coalesce(max(id), 0) + 1 FROM samples), ?, "
        "?, ?, ?, ?)");
    insert.bind(1, static_cast<int64_t>(item.entry->step))
        .bind(2, static_cast<int64_t>(item.entry->group))
        .bind(3, static_cast<int64_t>(item.entry->source))
        .bind(4, problem_id(item.group.problem))
        .bind(5, static_cast<int64_t>(item.entry->offset))
        .bind(6, n)
        .bind(7, static_cast<int64_t>(item.group.zero_variance))
        .bind(8, n == 0 ? 0.0 : reward / static_cast<double>(n))
        .bind(9, correct)
        .bind(10, failed)
        .run();
    return db->last_id();
  }

  void insert_samples(const Prepared& item, int64_t group, Statement& insert, Statement& text) {
    for (size_t i = 0; i < item.scans.size(); ++i) {
      const Sample& sample = item.group.samples[i];
      const SampleScan& scan = item.scans[i];
      const auto real = [&](int at, double value) {
        std::isfinite(value) ? insert.bind(at, scaled(value)) : insert.bind_null(at);
      };
      insert.bind(1, group);
      real(2, sample.reward);
      real(3, sample.advantage);
      insert.bind(4, drawn_tokens(sample));
      insert.bind(5, int64_t{scan.correct} | static_cast<int64_t>(sample.finish) << 1 |
                         int64_t{sample.masked} << 3 | int64_t{scan.loop} << 4 |
                         int64_t{scan.failed} << 5);
      insert.bind(6, int64_t{scan.flips[static_cast<size_t>(Flip::kWrongToRight)]});
      insert.bind(7, static_cast<int64_t>(scan.ahas.size()));
      insert.bind(8, static_cast<int64_t>(scan.markers.size()));
      insert.bind_blob(9, packed_row(sample, scan, item.first_token[i]));
      insert.run();
      const int64_t id = db->last_id();
      const std::string searched = searchable_text(sample);
      text.bind(1, id).bind(2, std::string_view(searched).substr(0, kMaxIndexedText));
      text.run();
      insert_extra(id, scan);
    }
  }

  void insert_extra(int64_t sample, const SampleScan& scan) {
    const auto put = [&](const std::string& field, double value) {
      if (value == 0 || !std::isfinite(value)) return;
      Statement(*db, "INSERT INTO extra VALUES(?, ?, ?)")
          .bind(1, sample)
          .bind(2, field)
          .bind(3, value)
          .run();
    };
    for (size_t list = kWordColumns; list < scan.words.size(); ++list) {
      put(scanner.lists()[list].name, scan.words[list]);
    }
    for (size_t e = 0; e < scan.extra.size(); ++e)
      put(scanner.scanners()[e]->name(), scan.extra[e]);
  }

  void add_to_steps(const std::vector<Prepared>& batch) {
    std::map<std::pair<int64_t, int64_t>, StepStats> touched;
    Statement get(*db, "SELECT stats FROM steps WHERE step = ? AND source = ?");
    for (const Prepared& item : batch) {
      if (!item.readable) continue;
      const std::pair<int64_t, int64_t> key(item.entry->step,
                                            static_cast<int64_t>(item.entry->source));
      auto found = touched.find(key);
      if (found == touched.end()) {
        get.bind(1, key.first).bind(2, key.second);
        StepStats stats;
        if (get.step()) stats = stored_stats(get.text(0));
        found = touched.emplace(key, std::move(stats)).first;
        get.reset();
      }
      found->second.add(item.group, item.scans);
      for (const Sample& sample : item.group.samples) {
        found->second.add_experts(sample, experts);
      }
    }
    Statement put(*db, "INSERT OR REPLACE INTO steps VALUES(?, ?, ?)");
    for (const auto& [key, stats] : touched) {
      put.bind(1, key.first).bind(2, key.second).bind(3, stats.to_json().dump());
      put.run();
    }
  }

  void insert_batch(const std::vector<Prepared>& batch) {
    Statement insert(*db,
                     "INSERT INTO samples(grp, reward, adv, len, flags, wr, aha, refl, rest) "
                     "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
    Statement text(*db, "INSERT INTO texts(rowid, text) VALUES(?, ?)");
    for (const Prepared& item : batch) {
      if (item.readable) insert_samples(item, insert_group(item), insert, text);
    }
    add_to_steps(batch);
    const TraceEntry& last = *batch.back().entry;
    set_meta("last", std::to_string(last.offset) + " " + std::to_string(last.crc));
  }

  // One transaction; returns false when there was nothing left to do.
  bool update_batch(TraceReader& reader, int64_t& added, int64_t& done, int64_t& total) {
    db->exec("BEGIN IMMEDIATE");
    try {
      auto from = position(reader);
      if (!from) {
        db->exec("ROLLBACK");
        recreate();
        db->exec("BEGIN IMMEDIATE");
        from = position(reader);
      }
      const auto& groups = reader.groups();
      size_t to = *from;
      for (uint64_t bytes = 0;
           to < groups.size() && to < *from + kBatchGroups && bytes < kBatchBytes; ++to) {
        bytes += groups[to].raw_bytes;
      }
      std::vector<Prepared> batch(to - *from);
      parallel_for(static_cast<int64_t>(batch.size()), 1, [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          batch[i] = prepare(groups[*from + i], reader, scanner);
        }
      });
      if (!batch.empty()) insert_batch(batch);
      db->exec("COMMIT");
      added += static_cast<int64_t>(batch.size());
      done = static_cast<int64_t>(to);
      total = static_cast<int64_t>(groups.size());
      return !batch.empty();
    } catch (...) {
      try {
        db->exec("ROLLBACK");
      } catch (const Error&) {  // the first error is the one to report
      }
      throw;
    }
  }
};

TraceIndex::TraceIndex(const fs::path& run_dir, const SampleScanner& scanner)
    : impl_(std::make_unique<Impl>(run_dir, scanner)) {}

TraceIndex::~TraceIndex() = default;

int64_t TraceIndex::update(TraceReader& reader,
                           const std::function<bool(int64_t, int64_t)>& progress) {
  impl_->experts = expert_shape(reader.run_info());
  int64_t added = 0;
  int64_t done = 0;
  int64_t total = 0;
  while (impl_->update_batch(reader, added, done, total)) {
    if (progress && !progress(done, total)) break;
  }
  return added;
}

void TraceIndex::clear() { impl_->recreate(); }

Database& TraceIndex::db() { return *impl_->db; }

const fs::path& TraceIndex::path() const { return impl_->path; }

std::string searchable_text(const Sample& sample) {
  std::string text = sample.text;
  for (const Verdict& verdict : sample.verdicts) {
    if (!verdict.info.is_object()) continue;
    const auto said = verdict.info.find("said");
    if (said != verdict.info.end() && said->is_string()) text += "\n" + said->get<std::string>();
  }
  return text;
}

StepStats stored_stats(const std::string& text) {
  try {
    return StepStats::from_json(parse_json(text, "the trace index", kStoredJson));
  } catch (const Json::exception& error) {
    fail(std::string("the trace index holds sums that cannot be read: ") + error.what(),
         "zeroth traces reindex RUN makes it anew");
  }
}

ExpertShape expert_shape(const Json& run_info) {
  const auto moe = run_info.find("moe");
  if (!run_info.is_object() || moe == run_info.end()) return {};
  const auto number = [&](const char* key, int64_t most) -> int {
    const auto found = moe->find(key);
    if (!moe->is_object() || found == moe->end() || !found->is_number_integer()) return 0;
    const auto value = found->get<int64_t>();
    return value >= 1 && value <= most ? static_cast<int>(value) : 0;
  };
  // Ids are bytes; no model has a thousand layers.
  const ExpertShape shape{number("layers", 1024), number("top_k", 256), number("experts", 256)};
  return shape.row() == 0 || shape.experts == 0 ? ExpertShape{} : shape;
}

std::unique_ptr<Task> task_of_run(const Json& run_info, std::string* why) {
  const auto task = run_info.find("task");
  if (!run_info.is_object() || task == run_info.end() || !task->is_object() ||
      !task->contains("name") || !(*task)["name"].is_string()) {
    *why = "the run does not say which task it trained on";
    return nullptr;
  }
  return make_task_to_look((*task)["name"].get<std::string>(),
                           task->value("options", Json::object()), why);
}

}  // namespace zeroth
