// An HTTP/1.1 server for machines: long polls, uploads, streams, thousands of connections on one
// thread, TLS 1.3. Whatever clients do, memory, connections and time stay bounded.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zeroth {

struct HttpRequest {
  std::string method;                          // "GET"
  std::string path;                            // percent-decoded, without the query
  std::map<std::string, std::string> query;    // percent-decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string remote;  // the client's IP address

  // Empty when absent.
  const std::string& header(const std::string& name) const;
  std::string argument(const std::string& name, const std::string& otherwise = "") const;
  // The secret of "Authorization: Bearer SECRET"; empty when there is none.
  std::string bearer() const;
};

struct HttpReply {
  int status = 200;
  std::string type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Body: `text`, or bytes that `owner` keeps alive, which are not copied.
  std::string text = {};
  std::shared_ptr<const void> owner = {};
  std::string_view bytes = {};
};

// One request that waits for its answer. Every method may be called from any thread.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  // The answer; only the first one counts.
  virtual void reply(HttpReply reply) = 0;
  // Or an answer in pieces (chunked): begin() once, write() any number of times, end(). write() is
  // false when the client has gone, or reads so slowly that what waits for it is over
  // HttpServerOptions::stream_bytes; then it is cut off.
  virtual void begin(int status, const std::string& type) = 0;
  virtual bool write(std::string piece) = 0;
  virtual void end() = 0;
  // False once the client has gone or was answered.
  virtual bool open() const = 0;
};
using HttpExchangePtr = std::shared_ptr<HttpExchange>;

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;  // 0: any free one
  std::string certificate_file = {},
              key_file = {};   // PEM; both or neither. With them TLS 1.3, and only that
  size_t connections = 16384;  // fewer where the limit of open files is low
  size_t connections_of_address = 16384;
  double header_s = 10;  // from a connection to a whole request line and headers
  double idle_s = 75;    // between two requests of a connection
  double body_s = 20;    // without progress of a body
  double write_s = 20;   // without progress of an answer
  uint64_t header_bytes = 16 << 10;
  uint64_t bodies_bytes = 256u << 20;  // of all requests that are read or worked on
  uint64_t stream_bytes = 1u << 20;    // of one streamed answer that wait for its reader
};

// Counts over the life of a server.
struct HttpServerStats {
  int64_t connections = 0;  // now
  int64_t accepted = 0, crowded_out = 0, timed_out = 0, malformed = 0, oversized = 0;
  int64_t requests = 0, refused = 0;  // refused by admit()
  int64_t bytes_in = 0, bytes_out = 0;
};

class HttpServer {
 public:
  // What may be sent, from the headers alone: a refusal, which ends the connection unless the
  // request has no body, or nothing and the most bytes of a body. Called on the server's thread.
  using Admit = std::function<std::optional<HttpReply>(const HttpRequest&, uint64_t& body_bytes)>;
  // Called on the server's thread; must not block or throw. The answer may come later.
  using Handle = std::function<void(HttpExchangePtr)>;

  // Binds and listens at once; throws Error when the address, port or certificate cannot be had.
  explicit HttpServer(const HttpServerOptions& options);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  bool tls() const;
  void start(Admit admit, Handle handle);
  void stop();  // closes every connection; no callback runs afterwards
  // Runs `work` on the server's thread, soon; or every so many seconds until stop().
  void post(std::function<void()> work);
  void every(double seconds, std::function<void()> work);
  HttpServerStats stats() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// In constant time, so that a secret cannot be guessed character by character.
bool same_secret(std::string_view a, std::string_view b);
// HOST:PORT, [IPv6]:PORT or PORT (then HOST is 127.0.0.1). A usage Error names `field`.
std::pair<std::string, uint16_t> parse_listen(const std::string& text, const std::string& field);

}  // namespace zeroth
