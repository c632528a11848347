// `zeroth fleet`: what a run's workers are doing, and what became of those that were wrong.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/terminal.h"
#include "net/http_client.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/audit.h"
#include "rollout/fleet/messages.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

struct FleetFlags {
  std::string token_file, ca;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("token_file", token_file, "file with a token, when an address is given");
    v("ca", ca, "PEM file with whom to trust behind https://");
    v("json", json, "print JSON");
  }
};

const char kUsage[] = "zeroth fleet status RUN or URL [options]\n       zeroth fleet evidence RUN";

bool is_url(const std::string& text) {
  return text.rfind("http://", 0) == 0 || text.rfind("https://", 0) == 0;
}

Json fetch_status(const std::string& url, const FleetFlags& flags) {
  if (flags.token_file.empty())
    fail_usage("zeroth fleet status: an address needs --token-file", "name the run's token file");
  std::string token = read_file(flags.token_file, 1 << 20);
  token = token.substr(0, token.find_first_of(" \t\r\n"));
  HttpClient client(parse_web_url(url), 64 << 20, {flags.ca});
  try {
    const HttpAnswer answer = client.send({.method = "GET",
                                           .target = "/v1/status",
                                           .headers = {{"Authorization", "Bearer " + token}}},
                                          5, 10);
    if (answer.status == 200) return parse_json(answer.body, url, kStoredJson);
    fail(
        url + " answers " + std::to_string(answer.status) + ": " + printable_line(answer.body, 300),
        "check address and token");
  } catch (const HttpFault& fault) {
    fail(url + " is out of reach: " + fault.what(), "check that the run is there");
  }
}

Json read_status(const fs::path& run) {
  const fs::path file = run / "fleet" / "status.json";
  if (!fs::exists(file)) {
    fail(run.string() + " has no fleet: there is no fleet/status.json",
         "start it with --set fleet.listen=HOST:PORT");
  }
  return read_json_file(file);
}

void print_status(const Json& status) {
  const Json &leases = status.at("leases"), &counts = status.at("counts");
  std::printf("%s workers alive, weights version %s\n", status.at("workers_alive").dump().c_str(),
              status.at("weights_version").dump().c_str());
  std::printf("leases: %s waiting, %s lent, %s expired, %s duplicates\n",
              leases.at("waiting").dump().c_str(), leases.at("lent").dump().c_str(),
              leases.at("expired").dump().c_str(), leases.at("duplicates").dump().c_str());
  std::printf(
      "results: %s (%s tokens), %s audited, %s wrong, %s malformed; %s unauthorised tries\n",
      counts.at("results").dump().c_str(), counts.at("tokens").dump().c_str(),
      counts.at("audited").dump().c_str(), counts.at("mismatches").dump().c_str(),
      counts.at("malformed").dump().c_str(), counts.at("unauthorised").dump().c_str());
  std::printf("\n%-32s %-6s %-9s %3s %7s %10s %7s %6s %s\n", "worker", "state", "isa", "thr",
              "leases", "tokens", "tok/s", "faults", "weights");
  for (const Json& worker : status.at("workers")) {
    const bool alive = worker.at("alive").get<bool>();
    std::printf("%-32s %-6s %-9s %3s %7s %10s %7.0f %6s %s\n",
                printable_line(worker.at("name").get<std::string>(), 32).c_str(),
                !alive                             ? "gone"
                : worker.at("waiting").get<bool>() ? "waits"
                                                   : "works",
                printable_line(worker.at("isa").get<std::string>(), 9).c_str(),
                worker.at("threads").dump().c_str(), worker.at("leases").dump().c_str(),
                worker.at("tokens").dump().c_str(), worker.at("tokens_per_s").get<double>(),
                worker.at("faults").dump().c_str(),
                worker.at("current").get<bool>() ? "current" : "older");
  }
  for (const auto& [name, reason] : status.at("quarantined").items()) {
    std::printf("quarantined: %s: %s\n", printable_line(name, 64).c_str(),
                printable_line(reason.get<std::string>(), 200).c_str());
  }
}

int show_status(const std::string& target, const FleetFlags& flags) {
  const Json status = is_url(target) ? fetch_status(target, flags) : read_status(target);
  if (flags.json) {
    std::printf("%s\n", status.dump().c_str());
    return 0;
  }
  try {
    print_status(status);
  } catch (const nlohmann::json::exception& error) {
    fail(target + ": not a fleet's status: " + error.what(), "use the build that made the run");
  }
  return 0;
}

int show_evidence(const fs::path& run, const FleetFlags& flags) {
  const fs::path folder = run / "fleet" / "evidence";
  std::vector<fs::path> files;
  if (fs::exists(folder)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const Json json = read_json_file(file);
    if (flags.json) {
      std::printf("%s\n", json.dump().c_str());
      continue;
    }
    const auto text = [&](const char* name) {
      const auto found = json.find(name);
      return found != json.end() && found->is_string() ? found->get<std::string>() : "?";
    };
    std::printf("%s: %s: %s\n", file.filename().c_str(), printable_line(text("worker"), 64).c_str(),
                printable_line(text("reason"), 200).c_str());
  }
  if (files.empty() && !flags.json) std::printf("no worker was wrong\n");
  return 0;
}

}  // namespace

int run_fleet(const Args& args) {
  FleetFlags flags;
  if (asks_for_help(args)) return print_usage(kUsage, flags);
  const Args rest = parse_flags(flags, args, "fleet");
  if (rest.size() == 2 && rest[0] == "status") return show_status(rest[1], flags);
  if (rest.size() == 2 && rest[0] == "evidence") return show_evidence(rest[1], flags);
  fail_usage("zeroth fleet needs a part and a run", kUsage);
}

}  // namespace zeroth
