#include "inspect/sqlite.h"

#include <sqlite3.h>

#include "core/error.h"
#include "inspect/packed_counts.h"

namespace zeroth {
namespace {

[[noreturn]] void raise_error(sqlite3* db, const std::filesystem::path& path) {
  const int code = db == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db);
  std::string fix = "delete " + path.string() +
                    " and run \"zeroth traces reindex RUN\"; it is rebuilt from the traces";
  if ((code & 0xff) == SQLITE_FULL) fix = "free space on that disk, then start again";
  fail("trace index " + path.string() + ": " +
           (db == nullptr ? "out of memory" : sqlite3_errmsg(db)),
       fix);
}

void packed_function(sqlite3_context* context, int, sqlite3_value** values) {
  const auto* bytes = static_cast<const char*>(sqlite3_value_blob(values[0]));
  const auto size = static_cast<size_t>(sqlite3_value_bytes(values[0]));
  const uint64_t count =
      bytes == nullptr ? 0 : packed_count({bytes, size}, sqlite3_value_int64(values[1]));
  sqlite3_result_int64(context, static_cast<sqlite3_int64>(count));
}

}  // namespace

Database::Database(const std::filesystem::path& path) : path_(path) {
  const int code = sqlite3_open_v2(
      path.c_str(), &db_,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  if (code != SQLITE_OK) {
    const std::string message = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
    sqlite3_close(db_);
    fail("cannot open the trace index " + path.string() + ": " + message,
         "check that the folder may be written to");
  }
  sqlite3_busy_timeout(db_, 10000);
  // The file may be a stranger's: no code of its own runs, and no value is larger than a trace.
  for (const int off : {SQLITE_DBCONFIG_ENABLE_TRIGGER, SQLITE_DBCONFIG_ENABLE_VIEW,
                        SQLITE_DBCONFIG_TRUSTED_SCHEMA}) {
    sqlite3_db_config(db_, off, 0, nullptr);
  }
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_limit(db_, SQLITE_LIMIT_LENGTH, 256 << 20);
  sqlite3_create_function_v2(db_, "packed", 2,
                             SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, nullptr,
                             packed_function, nullptr, nullptr, nullptr);
}

Database::~Database() { sqlite3_close(db_); }

void Database::exec(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    raise_error(db_, path_);
}

int64_t Database::last_id() const { return sqlite3_last_insert_rowid(db_); }

Statement::Statement(const Database& db, const std::string& sql) : db_(db) {
  if (sqlite3_prepare_v2(db.handle(), sql.c_str(), static_cast<int>(sql.size()), &statement_,
                         nullptr) != SQLITE_OK) {
    raise();
  }
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::raise() const { raise_error(db_.handle(), db_.path()); }

Statement& Statement::bind(int at, int64_t value) {
  if (sqlite3_bind_int64(statement_, at, value) != SQLITE_OK) raise();
  return *this;
}

Statement& Statement::bind(int at, double value) {
  if (sqlite3_bind_double(statement_, at, value) != SQLITE_OK) raise();
  return *this;
}

Statement& Statement::bind(int at, std::string_view text) {
  if (sqlite3_bind_text64(statement_, at, text.data(), text.size(), SQLITE_TRANSIENT,
                          SQLITE_UTF8) != SQLITE_OK) {
    raise();
  }
  return *this;
}

Statement& Statement::bind_blob(int at, std::string_view bytes) {
  // A null pointer would bind NULL.
  const char* from = bytes.empty() ? "" : bytes.data();
  if (sqlite3_bind_blob64(statement_, at, from, bytes.size(), SQLITE_TRANSIENT) != SQLITE_OK)
    raise();
  return *this;
}

Statement& Statement::bind_null(int at) {
  if (sqlite3_bind_null(statement_, at) != SQLITE_OK) raise();
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) raise();
  return false;
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

void Statement::reset() { sqlite3_reset(statement_); }

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string Statement::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

bool Statement::is_real(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_FLOAT;
}

}  // namespace zeroth
