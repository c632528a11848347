// A thin layer over SQLite's C interface: errors become zeroth::Error, statements are finalised.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace zeroth {

// One connection. One thread at a time. Its SQL has packed(blob, i): packed_count of
// packed_counts.h. No part of the path may be a link; triggers and views of the file do not run.
class Database {
 public:
  explicit Database(const std::filesystem::path& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  // Runs statements without results.
  void exec(const std::string& sql);
  int64_t last_id() const;
  sqlite3* handle() const { return db_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  sqlite3* db_ = nullptr;
};

// A prepared statement: bind (from 1), step until false, read columns (from 0), reset to use it
// again.
class Statement {
 public:
  Statement(const Database& db, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& bind(int at, int64_t value);
  Statement& bind(int at, int value) { return bind(at, static_cast<int64_t>(value)); }
  Statement& bind(int at, double value);
  Statement& bind(int at, std::string_view text);
  Statement& bind_blob(int at, std::string_view bytes);
  Statement& bind_null(int at);
  bool step();
  void run();  // step to the end, then reset
  void reset();
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;
  bool is_real(int column) const;

 private:
  [[noreturn]] void raise() const;
  const Database& db_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace zeroth
