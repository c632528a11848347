#include "rollout/fleet/access.h"

#include <fcntl.h>
#include <unistd.h>

#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/sha256.h"
#include "core/system.h"
#include "core/terminal.h"
#include "net/http_server.h"

namespace zeroth::fleet {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShortestToken = 16;
constexpr uint64_t kMaxEvidence = uint64_t{256} << 20;

struct TokenLine {
  std::string token;
  Role role = Role::kWorker;
};

std::vector<TokenLine> read_tokens(const std::string& text, const std::string& source) {
  std::vector<TokenLine> out;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    TokenLine entry;
    std::string role, rest;
    if (!(words >> entry.token)) continue;
    const std::string where = source + ":" + std::to_string(number);
    if (entry.token.size() < kShortestToken) {
      fail_usage(where + ": a token of " + std::to_string(entry.token.size()) + " characters",
                 "use at least 16, for example from: openssl rand -hex 32");
    }
    if (words >> role) {
      if (role == "observer") {
        entry.role = Role::kObserver;
      } else if (role != "worker") {
        fail_usage(where + ": unknown role \"" + role + "\"", "write worker or observer");
      }
    }
    if (words >> rest) fail_usage(where + ": \"" + rest + "\" behind the role", "write TOKEN ROLE");
    out.push_back(std::move(entry));
  }
  if (out.empty()) {
    fail_usage(source + ": there is no token", "write one a line: TOKEN [worker|observer]");
  }
  return out;
}

}  // namespace

TokenList TokenList::from_text(const std::string& text, const std::string& source) {
  TokenList out;
  for (const TokenLine& line : read_tokens(text, source))
    out.hashes_.emplace_back(sha256_hex(line.token), line.role);
  return out;
}

TokenList TokenList::from_file(const fs::path& file) {
  return from_text(read_file(file, 1 << 20), file.string());
}

std::string TokenList::first_token(const std::string& text, const std::string& source) {
  for (const TokenLine& line : read_tokens(text, source))
    if (line.role == Role::kWorker) return line.token;
  fail_usage(source + ": there is no token of a worker", "write one a line: TOKEN worker");
}

std::optional<Role> TokenList::role_of(const std::string& token) const {
  if (token.empty()) return std::nullopt;
  const std::string hash = sha256_hex(token);
  std::optional<Role> role;
  for (const auto& [known, its_role] : hashes_)
    if (same_secret(known, hash)) role = its_role;
  return role;
}

std::string TokenList::name_of(const std::string& token) const {
  int workers = 0;
  for (const auto& [hash, role] : hashes_) workers += role == Role::kWorker;
  return workers > 1 ? sha256_hex(token).substr(0, 12) : std::string();
}

std::string random_hex(size_t bytes) {
  std::vector<std::byte> random(bytes);
  if (!system::fill_random(random))
    fail("the system gives no random bytes", "give fleet.token_file");
  std::string out;
  for (const std::byte byte : random) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(byte));
    out += digits;
  }
  return out;
}

void make_token_file(const fs::path& file) {
  if (fs::exists(file)) return;
  fs::create_directories(file.parent_path());
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const std::string token = random_hex(32) + "\n";
  const bool written =
      fd >= 0 && ::write(fd, token.data(), token.size()) == static_cast<ssize_t>(token.size());
  if (fd >= 0) ::close(fd);
  if (!written) fail("cannot write " + file.string(), "check that the disk has room");
}

Quarantine::Quarantine(fs::path folder) : folder_(std::move(folder)) {
  if (folder_.empty() || !fs::exists(folder_ / "evidence")) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_ / "evidence")) {
    if (!entry.is_regular_file() || entry.path().extension() != ".json") continue;
    ++files_;
    const auto json = try_parse_json(read_file(entry.path(), kMaxEvidence));
    if (!json || !json->is_object()) continue;
    const Json worker = json->value("worker", Json()), reason = json->value("reason", Json());
    if (worker.is_string() && reason.is_string())
      reasons_[worker.get<std::string>()] = reason.get<std::string>();
    const Json token = json->value("token", Json());
    if (token.is_string() && !token.get_ref<const std::string&>().empty())
      tokens_.insert(token.get<std::string>());
  }
}

bool Quarantine::holds(const std::string& worker, const std::string& token) const {
  std::lock_guard lock(mutex_);
  return reasons_.count(worker) > 0 || tokens_.count(token) > 0;
}

fs::path Quarantine::add(const std::string& worker, const std::string& token,
                         const std::string& reason, Json evidence) {
  std::lock_guard lock(mutex_);
  reasons_.emplace(worker, reason);
  if (!token.empty()) tokens_.insert(token);
  if (folder_.empty()) return {};
  Json all = {{"worker", worker}, {"token", token}, {"reason", reason}};
  all.update(evidence);
  fs::create_directories(folder_ / "evidence");
  fs::path file;
  do {
    char name[32];
    std::snprintf(name, sizeof name, "%06d.json", files_++);
    file = folder_ / "evidence" / name;
  } while (fs::exists(file));
  write_file_atomic(file, all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  return file;
}

std::map<std::string, std::string> Quarantine::reasons() const {
  std::lock_guard lock(mutex_);
  return reasons_;
}

}  // namespace zeroth::fleet
