// What a coordinator says of itself: status.json, /v1/status and /metrics.
#include <algorithm>
#include <fstream>

#include "core/version.h"
#include "rollout/fleet/coordinator_impl.h"

namespace zeroth::fleet {
namespace {

constexpr size_t kListed = 1000;  // workers in a status

Json json_of(const LeaseCounts& leases) {
  return {
      {"waiting", leases.waiting},       {"lent", leases.lent},       {"done", leases.done},
      {"issued", leases.issued},         {"expired", leases.expired}, {"returned", leases.returned},
      {"duplicates", leases.duplicates}, {"refused", leases.refused}};
}

Json json_of(const HttpServerStats& http) {
  return {{"connections", http.connections}, {"accepted", http.accepted},
          {"requests", http.requests},       {"timed_out", http.timed_out},
          {"malformed", http.malformed},     {"oversized", http.oversized},
          {"crowded_out", http.crowded_out}, {"bytes_in", http.bytes_in},
          {"bytes_out", http.bytes_out}};
}

}  // namespace

// Not synced to the disk, which would hold up whoever is served on this thread.
void Coordinator::Impl::write_status() {
  if (status_file.empty()) return;
  std::string text;
  {
    std::lock_guard lock(mutex);
    text = status_json().dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::lock_guard lock(writing);
  const std::filesystem::path part = status_file.string() + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  std::error_code ignored;  // a full disk is told by those who write what counts
  if (out) std::filesystem::rename(part, status_file, ignored);
}

Json Coordinator::Impl::workers_json(double now) const {
  Json workers = Json::array();
  for (const auto& [id, s] : sessions) {
    if (workers.size() == kListed) break;
    workers.push_back({{"name", s.name},
                       {"session", id.substr(0, 8)},
                       {"alive", alive(s, now)},
                       {"waiting", s.parked != nullptr},
                       {"address", s.remote},
                       {"isa", s.isa},
                       {"threads", s.threads},
                       {"version", s.version},
                       {"weights", s.weights},
                       {"current", s.weights == newest},
                       {"tokens", s.tokens},
                       {"tokens_per_s", s.tokens / std::max(1e-9, now - s.since)},
                       {"leases", book.held_by(id).size()},
                       {"results", s.results},
                       {"duplicates", s.duplicates},
                       {"faults", s.faults},
                       {"expired", s.expired},
                       {"silent_s", now - s.heard}});
  }
  return workers;
}

Json Coordinator::Impl::status_json() const {
  const double now = steady_now();
  const Json workers = workers_json(now);
  Json shut_out = Json::object();
  for (const auto& [name, reason] : quarantine.reasons()) shut_out[name] = reason;
  return {{"instance", instance},
          {"version", version_string()},
          {"contract", identity.contract},
          {"weights", newest},
          {"weights_version", newest_version},
          {"workers_alive", alive_count(now)},
          {"workers", workers},
          {"quarantined", std::move(shut_out)},
          {"leases", json_of(book.counts())},
          {"counts",
           {{"results", counts.results},
            {"tokens", counts.tokens},
            {"audited", counts.audited},
            {"mismatches", counts.mismatches},
            {"stale_results", counts.stale_results},
            {"malformed", counts.malformed},
            {"unauthorised", counts.unauthorised},
            {"refused_hellos", counts.refused_hellos},
            {"too_many", counts.too_many},
            {"publications", counts.publications},
            {"publish_seconds", counts.publish_s}}},
          {"http", json_of(server.stats())},
          {"seconds", now - started}};
}

std::string metrics_text(const Json& status) {
  std::string out;
  const auto line = [&](const std::string& name, const Json& value, const char* type) {
    out += "# TYPE zeroth_fleet_" + name + " " + type + "\nzeroth_fleet_" + name + " " +
           value.dump() + "\n";
  };
  line("workers", status["workers_alive"], "gauge");
  line("quarantined", status["quarantined"].size(), "gauge");
  line("weights_version", status["weights_version"], "gauge");
  for (const char* name : {"waiting", "lent", "done"})
    line(std::string("leases_") + name, status["leases"][name], "gauge");
  for (const char* name : {"issued", "expired", "returned", "duplicates", "refused"})
    line(std::string("leases_") + name + "_total", status["leases"][name], "counter");
  for (const auto& [name, value] : status["counts"].items())
    line(name + "_total", value, "counter");
  line("http_connections", status["http"]["connections"], "gauge");
  for (const auto& [name, value] : status["http"].items()) {
    if (name != "connections") line("http_" + name + "_total", value, "counter");
  }
  return out;
}

}  // namespace zeroth::fleet
