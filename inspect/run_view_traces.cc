// One trace, searching, and the same problem across steps.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/terminal.h"
#include "inspect/pictures.h"
#include "inspect/run_view_impl.h"

namespace zeroth {
namespace {

constexpr auto kVerifyBudget = std::chrono::milliseconds(150);

// The tokens' bytes as text: a character that tokens share belongs to the token that completes it,
// bytes that are no text at all become U+FFFD. `begins`: of every token in the text, which an
// environment's tokens are no part of.
Json token_pieces(const Sample& sample, const Vocabulary& vocabulary,
                  std::vector<uint32_t>* begins) {
  const std::vector<TokenId>& tokens = sample.tokens;
  const std::vector<uint8_t> drawn = drawn_mask(sample);
  constexpr size_t kMaxPieces = 64 << 20;  // a vocabulary of huge tokens is hostile
  std::string bytes;
  std::vector<size_t> ends;
  size_t others = 0;  // bytes of the environment's tokens
  size_t turn = 0;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const TokenId id = tokens[t];
    const size_t before = bytes.size();
    for (; turn < sample.turns.size() && static_cast<size_t>(sample.turns[turn].end) <= t; ++turn)
      others = before - std::min(before, static_cast<size_t>(sample.turns[turn].text_end));
    begins->push_back(static_cast<uint32_t>(before - others));
    if (bytes.size() > kMaxPieces) {
      bytes += "…";
    } else if (id >= 0 && static_cast<size_t>(id) < vocabulary.size()) {
      bytes += vocabulary[static_cast<size_t>(id)];
    } else {
      bytes += "<" + std::to_string(id) + ">";
    }
    ends.push_back(bytes.size());
    if (!drawn.empty() && drawn[t] == 0) others += bytes.size() - before;
  }
  std::vector<std::string> pieces(tokens.size());
  size_t token = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t start = at;
    const bool valid = next_character(bytes, at) != 0xFFFFFFFF;
    while (token < ends.size() && ends[token] < at) ++token;
    pieces[std::min(token, pieces.size() - 1)] +=
        valid ? bytes.substr(start, at - start) : "\xEF\xBF\xBD";
  }
  return pieces;
}

Json rounded(const std::vector<float>& values, double scale = 1e4) {
  Json out = Json::array();
  for (const float value : values) {
    if (std::isfinite(value)) {
      out.push_back(std::round(static_cast<double>(value) * scale) / scale);
    } else {
      out.push_back(nullptr);
    }
  }
  return out;
}

// The index speaks of samples that the stream does not hold.
[[noreturn]] void fail_stale() {
  fail("the index of the traces does not fit the stream",
       "zeroth traces reindex RUN makes it anew");
}

// The tokens that truncated sampling (top-k, top-p, min-p) left to choose from, the first ten of
// each position.
Json kept_pieces(const Sample& sample, const Vocabulary& vocabulary) {
  constexpr int64_t kShown = 10;
  Json out = Json::array();
  for (size_t t = 0; t + 1 < sample.kept_offsets.size(); ++t) {
    Json row = Json::array();
    const int64_t end =
        std::min<int64_t>(sample.kept_offsets[t + 1], int64_t{sample.kept_offsets[t]} + kShown);
    for (int64_t k = sample.kept_offsets[t]; k < end; ++k) {
      if (k < 0 || static_cast<size_t>(k) >= sample.kept_ids.size()) break;
      const auto id = static_cast<size_t>(sample.kept_ids[static_cast<size_t>(k)]);
      row.push_back(id < vocabulary.size() ? vocabulary[id] : "<" + std::to_string(id) + ">");
    }
    out.push_back({{"of", sample.kept_offsets[t + 1] - sample.kept_offsets[t]}, {"tokens", row}});
  }
  return out;
}

Json token_span(const std::vector<uint32_t>& begins, uint32_t begin, uint32_t end) {
  return {token_at(begins, begin), token_at(begins, end > begin ? end - 1 : begin) + 1};
}

Json candidates_json(const SampleScan& scan, const std::vector<uint32_t>& begins) {
  Json out = Json::array();
  for (size_t i = 0; i < scan.candidates.size(); ++i) {
    const Candidate& candidate = scan.candidates[i];
    Json json = {{"span", token_span(begins, candidate.begin, candidate.end)},
                 {"kind", to_string(candidate.kind)},
                 {"correct", candidate.correct},
                 {"answer", candidate.answer},
                 {"restated", candidate.restated},
                 {"flip", nullptr}};
    for (const FlipAt& flip : scan.flip_list) {
      if (flip.candidate == i) json["flip"] = to_string(flip.flip);
    }
    out.push_back(std::move(json));
  }
  return out;
}

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

Json RunView::trace(const SampleAddress& address) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  const auto row = impl_->find_group(address);
  if (!row || address.sample >= row->n) {
    fail_usage("there is no sample " + address.text() + " in " + impl_->run_dir.string(),
               "\"zeroth traces ls RUN\" lists the steps; samples are STEP.GROUP.SAMPLE, from 0");
  }
  const TraceEntry& entry = impl_->entry_at(row->offset);
  const Group group = impl_->reader->read(entry);
  const auto scans = impl_->scanner->scan(group);
  const auto index = static_cast<size_t>(address.sample);
  if (index >= group.samples.size()) fail_stale();
  const Sample& sample = group.samples[index];
  const SampleScan& scan = scans[index];
  std::vector<uint32_t> begins;
  Json out = sample_summary(sample, scan);
  out["at"] = address.text();
  out["step"] = address.step;
  out["group"] = address.group;
  out["sample"] = address.sample;
  out["source"] = to_string(address.source);
  out["version"] = first_version(sample);
  if (sample.versions.size() > 1) {  // weights were switched while it was sampled
    for (const VersionSegment& segment : sample.versions)
      out["versions"].push_back({{"first", segment.first}, {"version", segment.version}});
  }
  out["task"] = group.problem.task;
  out["problem"] = group.problem.id;
  out["prompt"] = group.problem.prompt;
  out["answer"] = group.problem.answer;
  out["meta"] = group.problem.meta;
  out["zero"] = group.zero_variance;
  out["text"] = sample.text;
  out["ids"] = sample.tokens;
  out["pieces"] = token_pieces(sample, impl_->reader->vocabulary(), &begins);
  out["logprobs"] = rounded(sample.logprobs);
  out["entropies"] = rounded(sample.entropies);
  out["kept"] = kept_pieces(sample, impl_->reader->vocabulary());
  size_t begin = 0;
  for (const Turn& turn : sample.turns) {
    out["turns"].push_back({{"begin", begin},
                            {"end", turn.end},
                            {"next", turn.next},
                            {"reward", turn.reward},
                            {"observation", turn.observation}});
    begin = static_cast<size_t>(turn.next);
  }
  out["key"] = {sample.key.seed, sample.key.step, sample.key.problem, sample.key.sample};
  Json notes = Json::object();
  for (const auto& [name, values] : impl_->reader->annotations(entry)) {
    if (index < values.size()) notes[name] = rounded(values[index], name == "loss" ? 1e9 : 1e5);
  }
  out["annotations"] = notes;
  if (!sample.experts.empty()) {
    const ExpertShape shape = expert_shape(impl_->reader->run_info());
    if (shape.row() > 0 && sample.experts.size() == shape.row() * sample.tokens.size()) {
      out["experts"] = sample.experts;
      if (!sample.router_confidence.empty()) out["router_confidence"] = sample.router_confidence;
      out["moe"] = {{"layers", shape.layers}, {"top_k", shape.top_k}, {"experts", shape.experts}};
    }
  }
  out["pictures"] = pictures_of(picture_shape(impl_->reader->run_info()), sample.tokens);
  out["candidates"] = candidates_json(scan, begins);
  Json markers = Json::array();
  for (const Span& span : scan.markers) markers.push_back(token_span(begins, span.begin, span.end));
  out["markers"] = markers;
  Json ahas = Json::array();
  for (const Span& span : scan.ahas) ahas.push_back(token_span(begins, span.begin, span.end));
  out["aha_spans"] = ahas;
  out["loop_at"] = scan.loop ? Json({scan.loop_begin, scan.loop_period}) : Json(nullptr);
  out["repetition"] = scan.repetition;
  out["switches"] = scan.language_switches;
  Json words = Json::object();
  for (size_t i = 0; i < scan.words.size(); ++i) {
    if (scan.substrings[i] > 0) {
      words[impl_->scanner->lists()[i].name] = {scan.words[i], scan.substrings[i]};
    }
  }
  out["words"] = words;
  Json verdicts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    verdicts.push_back({{"name", verdict.name},
                        {"score", verdict.score},
                        {"weight", verdict.weight},
                        {"reason", to_string(verdict.reason)},
                        {"extracted", verdict.extracted},
                        {"info", verdict.info}});
  }
  out["verdicts"] = verdicts;
  out["judge"] = judgement_json(impl_->run_dir, address, sample.text);
  Json siblings = Json::array();
  for (size_t i = 0; i < scans.size(); ++i)
    siblings.push_back(sample_summary(group.samples[i], scans[i]));
  out["siblings"] = siblings;
  return out;
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
