// One trace with its tokens and what is known of each.
#include <algorithm>
#include <cmath>

#include "core/terminal.h"
#include "inspect/pictures.h"
#include "inspect/run_view_impl.h"

namespace zeroth {
namespace {

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

}  // namespace zeroth
