// Who may talk to a coordinator, and who no longer.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/json.h"

namespace zeroth::fleet {

enum class Role { kWorker, kObserver };  // observers only look: status and metrics

// Tokens of a file: one a line, "TOKEN [worker|observer]", # begins a comment. Only hashes are kept.
class TokenList {
 public:
  // Throws Error (usage) that names file and line: no token at all, one of fewer than 16 bytes, an
  // unknown role.
  static TokenList from_text(const std::string& text, const std::string& source);
  static TokenList from_file(const std::filesystem::path& file);
  // Also what a client reads: the first token that is a worker's.
  static std::string first_token(const std::string& text, const std::string& source);

  std::optional<Role> role_of(const std::string& token) const;
  // Names a worker's token without telling it, where each worker may have one of its own: empty when
  // there is only one token for all.
  std::string name_of(const std::string& token) const;

 private:
  std::vector<std::pair<std::string, Role>> hashes_;
};

// So many random bytes of the system's in hexadecimal digits: tokens and session ids.
std::string random_hex(size_t bytes);

// A new token in `file` (readable by its owner only), unless the file is there.
void make_token_file(const std::filesystem::path& file);

// Workers that delivered something false, by name, with what is kept of it. In FOLDER/evidence, so
// that a resumed run still knows. Thread safe.
class Quarantine {
 public:
  explicit Quarantine(std::filesystem::path folder);  // empty: nothing is kept on disk
  // `token`: TokenList::name_of. A worker that comes back under another name is known by it.
  bool holds(const std::string& worker, const std::string& token) const;
  // Keeps the evidence (an object) with worker and reason; returns the file's path.
  std::filesystem::path add(const std::string& worker, const std::string& token,
                            const std::string& reason, Json evidence);
  std::map<std::string, std::string> reasons() const;  // by worker

 private:
  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> reasons_;
  std::set<std::string> tokens_;
  int files_ = 0;
};

}  // namespace zeroth::fleet
