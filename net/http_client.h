// A client of one HTTP/1.1 server: what plug-ins that are servers and judges are talked to with.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace zeroth {

// http://HOST[:PORT][/PATH]; host names, IPv4 and [IPv6].
struct HttpUrl {
  std::string host, port, path;
};
// Throws a usage Error for anything else (https among it: put a proxy in front).
HttpUrl parse_http_url(const std::string& url);

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
};

// One connection that is kept alive; a server that closed it between two requests is connected to
// again. For one thread at a time.
class HttpClient {
 public:
  // Answers are at most `max_answer` bytes.
  HttpClient(HttpUrl url, uint64_t max_answer);
  ~HttpClient();
  using Headers = std::vector<std::pair<std::string, std::string>>;
  // POSTs JSON text to the URL's path and blocks for the answer, whatever its status. Connecting
  // may take `connect_seconds`, all of it `seconds`. Throws HttpFault; the connection is closed
  // then.
  HttpAnswer post(const std::string& json, double connect_seconds, double seconds,
                  const Headers& headers = {});
  void close();
  const HttpUrl& url() const { return url_; }

 private:
  struct Connection;
  HttpUrl url_;
  uint64_t max_answer_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace zeroth
