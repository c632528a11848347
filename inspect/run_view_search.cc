// Searching traces, and the same problem across steps.
#include <chrono>

#include "core/error.h"
#include "inspect/run_view_impl.h"

namespace zeroth {
namespace {

constexpr auto kVerifyBudget = std::chrono::milliseconds(150);

Json hit_json(const SampleAddress& address, const Group& group, const SampleScan& scan,
              std::string_view query_text) {
  const Sample& sample = group.samples[static_cast<size_t>(address.sample)];
  Json json = sample_summary(sample, scan);
  json["at"] = address.text();
  json["step"] = address.step;
  json["problem"] = group.problem.id;
  // The text around the first thing worth seeing: what was searched for, else an aha, else the end.
  const std::string text = query_text.empty() ? sample.text : searchable_text(sample);
  size_t from = 0;
  if (!query_text.empty()) {
    const auto found = std::search(text.begin(), text.end(), query_text.begin(), query_text.end(),
                                   [](char a, char b) {
                                     return std::tolower(static_cast<unsigned char>(a)) ==
                                            std::tolower(static_cast<unsigned char>(b));
                                   });
    if (found != text.end()) from = static_cast<size_t>(found - text.begin());
  } else if (!scan.ahas.empty()) {
    from = scan.ahas.front().begin;
  }
  size_t start = from > 60 ? from - 60 : 0;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
  json["text"] = (start > 0 ? "…" : "") + clipped(std::string_view(text).substr(start), 240);
  return json;
}

}  // namespace

void fail_stale() {
  fail("the index of the traces does not fit the stream",
       "zeroth traces reindex RUN makes it anew");
}

std::vector<RunView::Impl::Match> RunView::Impl::matches(const CompiledQuery& query,
                                                         const std::string& order, int64_t limit,
                                                         int64_t offset, int64_t* total) {
  const auto bind_all = [&](Statement& statement) {
    int at = 0;
    if (!query.match.empty()) statement.bind(++at, query.match);
    for (const auto& value : query.values) {
      std::visit([&](const auto& v) { statement.bind(++at, v); }, value);
    }
    return at;
  };
  // Only what the condition and the order speak of is joined; the rest is looked up for the page of
  // hits alone.
  const bool texts = !query.match.empty();
  const auto needs = [](const std::string& sql, const char* table) {
    for (size_t at = sql.find(table); at != std::string::npos; at = sql.find(table, at + 1)) {
      if (at == 0 || std::isalnum(static_cast<unsigned char>(sql[at - 1])) == 0) return true;
    }
    return false;
  };
  const auto from = [&](const std::string& sql) {
    const bool groups = query.uses_groups || needs(sql, "g.");
    const bool samples = !texts || groups || needs(sql, "s.") || needs(query.where, "s.");
    std::string tables = texts ? " FROM texts" : " FROM samples s";
    if (texts && samples) tables += " CROSS JOIN samples s ON s.id = texts.rowid";
    if (groups) tables += " JOIN groups g ON g.id = s.grp";
    return tables + " WHERE " + (texts ? "texts MATCH ? AND " : "") + query.where;
  };
  if (total != nullptr) {
    // Samples are numbered without gaps from 1, so that all of them need no counting.
    const bool all = !texts && query.where == "1";
    Statement count(
        *db, all ? "SELECT coalesce(max(id), 0) FROM samples" : "SELECT count(*)" + from(""));
    bind_all(count);
    count.step();
    *total = count.integer(0);
  }
  const std::string id = texts ? "texts.rowid" : "s.id";
  // The number of the sample orders as "step" does; as an expression of the table that drives the
  // search it needs no sort.
  std::string sort = order;
  if (sort == "s.id" || sort == "s.id DESC") sort.replace(0, 4, id);
  Statement get(*db, "SELECT " + id + from(sort) + " ORDER BY " + sort + " LIMIT ? OFFSET ?");
  const int at = bind_all(get);
  get.bind(at + 1, limit).bind(at + 2, offset);
  Statement look(*db,
                 "SELECT g.offset, g.step, g.idx, s.id - g.first_sample, g.source "
                 "FROM samples s JOIN groups g ON g.id = s.grp WHERE s.id = ?");
  std::vector<Match> found;
  while (get.step()) {
    const int64_t sample = get.integer(0);
    look.bind(1, sample);
    if (look.step()) {
      found.push_back({sample,
                       look.integer(0),
                       {look.integer(1), look.integer(2), look.integer(3),
                        static_cast<GroupSource>(look.integer(4))}});
    }
    look.reset();
  }
  return found;
}

namespace {

std::string order_sql(const std::string& order) {
  const bool descending = !order.empty() && order[0] == '-';
  const std::string name = descending ? order.substr(1) : order;
  if (name == "step") return descending ? "s.id DESC" : "s.id";
  for (const QueryField& field : query_fields()) {
    if (field.name == name && !field.text)
      return field.sql + (descending ? " DESC, s.id" : ", s.id");
  }
  fail_usage("cannot sort by \"" + order + "\"",
             "use step, reward, len, flips, entropy, .., with - for descending");
}

// Reads groups for matches, keeping the last one: neighbours in the result often share it.
class GroupCache {
 public:
  GroupCache(const TraceReader& reader, const SampleScanner& scanner)
      : reader_(reader), scanner_(scanner) {}
  // False when the record is damaged.
  bool load(const TraceEntry& entry) {
    if (loaded_ == entry.offset) return good_;
    loaded_ = entry.offset;
    good_ = false;
    try {
      group_ = reader_.read(entry);
      scans_ = scanner_.scan(group_);
      good_ = true;
    } catch (const Error&) {
    }
    return good_;
  }
  const Group& group() const { return group_; }
  const std::vector<SampleScan>& scans() const { return scans_; }

 private:
  const TraceReader& reader_;
  const SampleScanner& scanner_;
  std::optional<uint64_t> loaded_;
  bool good_ = false;
  Group group_;
  std::vector<SampleScan> scans_;
};

bool phrases_agree(const CompiledQuery& query, const std::string& text) {
  if (!query.exact) return true;
  return std::all_of(query.verify.begin(), query.verify.end(),
                     [&](const CompiledQuery::Phrase& phrase) {
                       return contains_phrase(text, phrase.text) != phrase.negated;
                     });
}

std::string shown_phrase(const CompiledQuery& query) {
  for (const auto& phrase : query.verify) {
    if (!phrase.negated) return phrase.text;
  }
  if (query.match.empty()) return "";
  // A single word in quotes.
  const size_t end = query.match.find('"', 1);
  return end == query.match.size() - 1 ? query.match.substr(1, end - 1) : "";
}

}  // namespace

Json RunView::search(const SearchRequest& request) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  const auto compiled = compile_query(request.query, impl_->extra_fields());
  if (const auto* error = std::get_if<QueryError>(&compiled)) {
    return {{"error", error->what}, {"at", error->at}};
  }
  const auto& query = std::get<CompiledQuery>(compiled);
  const std::string order = order_sql(request.order);
  const bool verify = query.exact && !query.verify.empty();
  int64_t total = 0;
  Json hits = Json::array();
  bool exact = query.exact;
  GroupCache cache(*impl_->reader, *impl_->scanner);
  const std::string phrase = shown_phrase(query);
  const auto started = std::chrono::steady_clock::now();
  // With phrases to compare, the index's hits are walked in pages until enough texts agree or time
  // is up.
  const int64_t page = verify ? 500 : request.limit;
  int64_t skipped = 0;
  int64_t compared = 0;
  int64_t refused = 0;
  for (int64_t at = verify ? 0 : request.offset;; at += page) {
    const auto found =
        impl_->matches(query, order, page, at, at == 0 || !verify ? &total : nullptr);
    for (const Impl::Match& match : found) {
      if (!cache.load(impl_->entry_at(match.offset))) continue;
      const auto index = static_cast<size_t>(match.address.sample);
      if (index >= cache.group().samples.size()) fail_stale();
      ++compared;
      if (verify && !phrases_agree(query, searchable_text(cache.group().samples[index]))) {
        ++refused;
        continue;
      }
      if (verify && skipped < request.offset) {
        ++skipped;
        continue;
      }
      if (static_cast<int>(hits.size()) < request.limit) {
        hits.push_back(hit_json(match.address, cache.group(), cache.scans()[index], phrase));
      }
    }
    const bool late = std::chrono::steady_clock::now() - started > kVerifyBudget;
    if (!verify || static_cast<int64_t>(found.size()) < page) break;
    if (static_cast<int>(hits.size()) >= request.limit || late) {
      exact = false;
      break;
    }
  }
  if (verify && exact) {
    total -= refused;
  } else if (verify && compared > 0) {
    // Texts that were not compared are taken to agree as often as those that were.
    total = std::llround(static_cast<double>(total) * static_cast<double>(compared - refused) /
                         static_cast<double>(compared));
  }
  return {{"total", total}, {"exact", exact}, {"hits", std::move(hits)}};
}

void RunView::for_each_match(
    const SearchRequest& request,
    const std::function<bool(const SampleAddress&, const Group&, const SampleScan&)>& each) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  const auto compiled = compile_query(request.query, impl_->extra_fields());
  if (const auto* error = std::get_if<QueryError>(&compiled)) {
    fail_usage("query: " + error->with_caret(request.query),
               "\"zeroth traces --help\" explains the search language");
  }
  const auto& query = std::get<CompiledQuery>(compiled);
  GroupCache cache(*impl_->reader, *impl_->scanner);
  constexpr int64_t kPage = 2000;
  for (int64_t at = request.offset;; at += kPage) {
    const auto found = impl_->matches(query, order_sql(request.order), kPage, at, nullptr);
    for (const Impl::Match& match : found) {
      if (!cache.load(impl_->entry_at(match.offset))) continue;
      const auto index = static_cast<size_t>(match.address.sample);
      if (index >= cache.group().samples.size()) fail_stale();
      if (!phrases_agree(query, searchable_text(cache.group().samples[index]))) continue;
      if (!each(match.address, cache.group(), cache.scans()[index])) return;
    }
    if (static_cast<int64_t>(found.size()) < kPage) return;
  }
}

void RunView::for_each_group(const std::function<bool(const TraceEntry&, const Group&)>& each) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  impl_->reader->refresh();
  for (const TraceEntry& entry : impl_->reader->groups()) {
    Group group;
    try {
      group = impl_->reader->read(entry);
    } catch (const Error&) {
      continue;
    }
    if (!each(entry, group)) return;
  }
}

Json RunView::problem(const std::string& task, const std::string& id) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  Statement get(*impl_->db, "SELECT id FROM problems WHERE task = ? AND name = ?");
  get.bind(1, task).bind(2, id);
  if (!get.step()) fail_usage("no problem \"" + id + "\" of task \"" + task + "\" was sampled");
  const auto rows = impl_->group_rows("g.problem = ? ORDER BY g.id LIMIT 1000", {get.integer(0)});
  Json out = Json::array();
  for (const auto& row : rows) {
    out.push_back({{"step", row.step},
                   {"group", row.index},
                   {"source", to_string(row.source)},
                   {"n", row.n},
                   {"correct", row.correct},
                   {"failed", row.failed},
                   {"reward", row.reward}});
  }
  Json result = {{"task", task}, {"problem", id}, {"groups", out}};
  // The problem itself, from the last group that can be read.
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    try {
      const Problem problem = impl_->reader->read(impl_->entry_at(row->offset)).problem;
      result["prompt"] = problem.prompt;
      result["answer"] = problem.answer;
      result["meta"] = problem.meta;
      break;
    } catch (const Error&) {  // a damaged record
    }
  }
  return result;
}

Json RunView::probes() {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  // Probe problems first, then those that training happened to draw most often.
  Statement get(*impl_->db,
                "SELECT p.task, p.name, count(*), min(g.step), max(g.step), max(g.source = 1), "
                "sum(g.correct) * 1.0 / sum(g.n) FROM groups g JOIN problems p ON p.id = g.problem "
                "GROUP BY g.problem "
                "HAVING count(DISTINCT g.step) > 1 ORDER BY max(g.source = 1) DESC, count(*) DESC, "
                "p.id LIMIT 100");
  Json out = Json::array();
  while (get.step()) {
    out.push_back({{"task", get.text(0)},
                   {"problem", get.text(1)},
                   {"times", get.integer(2)},
                   {"first", get.integer(3)},
                   {"last", get.integer(4)},
                   {"probe", get.integer(5) != 0},
                   {"solved", get.real(6)}});
  }
  return out;
}

Json RunView::first_ahas(int limit) {
  SearchRequest request;
  request.query = "aha>0";
  request.limit = limit;
  return search(request);
}

}  // namespace zeroth
