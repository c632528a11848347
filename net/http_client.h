// A client of one HTTP/1.1 server: what plug-ins that are servers, judges and coordinators of a fleet
// are talked to with.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace zeroth {

// http://HOST[:PORT][/PATH]; host names, IPv4 and [IPv6].
struct HttpUrl {
  std::string host, port, path;
  bool tls = false;
};
// Throws a usage Error for anything else (https among it: put a proxy in front).
HttpUrl parse_http_url(const std::string& url);
// The same, and https:// (port 443).
HttpUrl parse_web_url(const std::string& url);

enum class HttpFaultKind {
  kTimeout,      // nothing came in time
  kUnreachable,  // no name, no route, nobody listens
  kClosed,       // it hung up before the answer was whole
  kGarbage       // not HTTP, or longer than the limit
};
struct HttpFault : std::runtime_error {
  HttpFault(HttpFaultKind kind, const std::string& what) : std::runtime_error(what), kind(kind) {}
  HttpFaultKind kind;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
  std::map<std::string, std::string> headers = {};  // names in lower case
};

struct HttpCall {
  std::string method = "POST";
  std::string target = {};  // path and query; empty: the URL's path
  std::string body = {};
  std::string type = "application/json";  // of the body and of the answer that is wished for
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Where the body of a 200 or 206 goes when its length is told and fits; HttpAnswer::body is empty
  // then. Anything else is a body as ever.
  std::span<char> into = {};
  size_t* received = nullptr;  // with `into`: bytes that came there, also when the rest did not
};

// How a server behind https:// is known. TLS 1.3 only; the name or address in the URL must be that
// of the certificate.
struct HttpTrust {
  std::string ca_file;  // PEM with whom to trust; empty: the system's list
};

// One connection that is kept alive; a server that closed it between two requests is connected to
// again. For one thread at a time.
class HttpClient {
 public:
  // Answers are at most `max_answer` bytes. An unreadable ca_file is an Error.
  HttpClient(HttpUrl url, uint64_t max_answer, const HttpTrust& trust = {});
  ~HttpClient();
  using Headers = std::vector<std::pair<std::string, std::string>>;
  // POSTs JSON text to the URL's path and blocks for the answer, whatever its status. Connecting
  // may take `connect_seconds`, all of it `seconds`. Throws HttpFault; the connection is closed
  // then.
  HttpAnswer post(const std::string& json, double connect_seconds, double seconds,
                  const Headers& headers = {});
  // Any request. A `stop` (may be null) that becomes true ends it within a moment, as a timeout.
  HttpAnswer send(const HttpCall& call, double connect_seconds, double seconds,
                  const std::atomic<bool>* stop = nullptr);
  void close();
  const HttpUrl& url() const { return url_; }

 private:
  struct Connection;
  HttpUrl url_;
  uint64_t max_answer_;
  HttpTrust trust_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace zeroth
