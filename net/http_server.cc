#include "net/http_server.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <thread>

#include "core/error.h"
#include "net/http_session.h"

namespace zeroth {
namespace {

using namespace http_detail;
namespace ssl = asio::ssl;

// Some files stay free for the rest of the process.
size_t connections_allowed(size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(limit.rlim_max, std::max<rlim_t>(limit.rlim_cur, 65536));
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  if (limit.rlim_cur == RLIM_INFINITY) return wanted;
  const auto files = static_cast<size_t>(limit.rlim_cur);
  return std::clamp<size_t>(files > 256 ? files - 128 : files / 2, 4, wanted);
}

}  // namespace

const std::string& HttpRequest::header(const std::string& name) const {
  static const std::string none;
  const auto found = headers.find(name);
  return found == headers.end() ? none : found->second;
}

std::string HttpRequest::argument(const std::string& name, const std::string& otherwise) const {
  const auto found = query.find(name);
  return found == query.end() ? otherwise : found->second;
}

std::string HttpRequest::bearer() const {
  const std::string& value = header("authorization");
  constexpr std::string_view kScheme = "Bearer ";
  return value.rfind(kScheme, 0) == 0 ? value.substr(kScheme.size()) : std::string();
}

struct HttpServer::Impl {
  SharedPtr shared;
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  std::optional<ssl::context> tls;
  std::list<asio::steady_timer> timers;
  std::thread thread;
  bool loopback = true;

  explicit Impl(const HttpServerOptions& options)
      : shared(std::make_shared<Shared>(options)),
        acceptor(shared->context),
        retry(shared->context) {
    shared->options.connections = connections_allowed(options.connections);
    load_certificate(options);
    beast::error_code error;
    const std::string host = options.address == "localhost" ? "127.0.0.1" : options.address;
    const auto address = asio::ip::make_address(host, error);
    if (error) {
      fail_usage("\"" + options.address + "\" is no IP address to listen on",
                 "use 127.0.0.1, ::1, or 0.0.0.0 for every interface");
    }
    loopback = address.is_loopback();
    const tcp::endpoint endpoint(address, options.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      fail("cannot listen on " + options.address + " port " + std::to_string(options.port) + ": " +
               error.message(),
           error == asio::error::address_in_use
               ? "another program uses that port: choose another, or 0 for any free one"
               : "choose another address or port");
    }
  }

  void load_certificate(const HttpServerOptions& options) {
    if (options.certificate_file.empty() && options.key_file.empty()) return;
    if (options.certificate_file.empty() || options.key_file.empty()) {
      fail_usage("TLS needs a certificate and its key, and only one of them is given",
                 "give both PEM files, or neither for plain HTTP");
    }
    tls.emplace(ssl::context::tlsv13_server);
    ::SSL_CTX_set_mode(tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    beast::error_code error;
    tls->use_certificate_chain_file(options.certificate_file, error);
    const std::string* bad = error ? &options.certificate_file : nullptr;
    if (!error) {
      tls->use_private_key_file(options.key_file, ssl::context::pem, error);
      if (error) bad = &options.key_file;
    }
    if (bad) fail_usage(*bad + ": " + error.message(), "give PEM files of one certificate");
  }

  // Closes what can be missed most: the connection that has been idle longest, of those that never
  // sent a request that was let in. False: none.
  bool make_room() {
    if (shared->strangers.empty()) return false;
    Place& oldest = *shared->strangers.front();
    shared->works(oldest);
    shared->count(&HttpServerStats::crowded_out);
    std::exchange(oldest.close, nullptr)();
    return true;
  }
  // One for whom there is no room hears so, when that costs no wait.
  void turn_away(tcp::socket& socket) const {
    beast::error_code ignored;
    socket.non_blocking(true, ignored);
    char request[4096];  // read, so that closing does not throw the answer away
    socket.read_some(asio::buffer(request), ignored);
    static constexpr std::string_view kFull =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: 33\r\n\r\n"
        "{\"error\":\"too many connections\"}\n";
    if (!tls) socket.write_some(asio::buffer(kFull.data(), kFull.size()), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void accept(const std::shared_ptr<Impl>& self) {
    acceptor.async_accept([this, self](beast::error_code error, tcp::socket socket) {
      if (!acceptor.is_open()) return;
      if (!error) {
        add(std::move(socket));
        return accept(self);
      }
      // Out of files: an idle connection gives one back. At once would spin.
      make_room();
      retry.expires_after(std::chrono::milliseconds(50));
      retry.async_wait([this, self](beast::error_code cancelled) {
        if (!cancelled && acceptor.is_open()) accept(self);
      });
    });
  }

  void add(tcp::socket socket) {
    beast::error_code error;
    const std::string remote = socket.remote_endpoint(error).address().to_string();
    shared->count(&HttpServerStats::accepted);
    std::list<Place>& places = shared->places;
    const HttpServerOptions& options = shared->options;
    const auto same = [&] {
      return static_cast<size_t>(std::count_if(places.begin(), places.end(),
                                               [&](const Place& p) { return p.remote == remote; }));
    };
    const bool crowd = !loopback && places.size() >= options.connections_of_address &&
                       same() >= options.connections_of_address;
    // The one that makes room is gone a moment later, so the list may be one too long meanwhile.
    if (crowd || (places.size() >= options.connections && !make_room())) {
      shared->count(&HttpServerStats::crowded_out);
      return turn_away(socket);
    }
    socket.set_option(tcp::no_delay(true), error);
    const auto place = places.emplace(places.end());
    place->remote = remote;
    shared->count(&HttpServerStats::connections);
    if (tls) {
      asio::co_spawn(
          shared->context,
          serve_tls(shared, beast::ssl_stream<beast::tcp_stream>(std::move(socket), *tls), place),
          asio::detached);
    } else {
      asio::co_spawn(shared->context,
                     serve_plain(shared, beast::tcp_stream(std::move(socket)), place),
                     asio::detached);
    }
  }
};

HttpServer::HttpServer(const HttpServerOptions& options) : impl_(std::make_shared<Impl>(options)) {}

HttpServer::~HttpServer() { stop(); }

uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }
bool HttpServer::tls() const { return impl_->tls.has_value(); }

void HttpServer::start(Admit admit, Handle handle) {
  impl_->shared->admit = std::move(admit);
  impl_->shared->handle = std::move(handle);
  impl_->accept(impl_);
  impl_->thread = std::thread([shared = impl_->shared] { shared->context.run(); });
}

void HttpServer::stop() {
  if (!impl_->thread.joinable()) return;
  // The thread ends when nothing is left to wait for.
  asio::post(impl_->shared->context, [impl = impl_] {
    beast::error_code ignored;
    impl->acceptor.close(ignored);
    impl->retry.cancel();
    for (asio::steady_timer& timer : impl->timers) timer.cancel();
    impl->shared->stopping = true;
    for (Place& place : impl->shared->places) {
      if (place.close) std::exchange(place.close, nullptr)();
    }
  });
  impl_->thread.join();
}

void HttpServer::post(std::function<void()> work) {
  asio::post(impl_->shared->context, std::move(work));
}

void HttpServer::every(double seconds, std::function<void()> work) {
  post([impl = impl_.get(), seconds, work = std::move(work)] {
    Shared& shared = *impl->shared;
    asio::steady_timer& timer = impl->timers.emplace_back(impl->shared->context);
    const auto again = std::make_shared<std::function<void()>>();
    *again = [&timer, &shared, seconds, work, weak = std::weak_ptr(again)] {
      timer.expires_after(millis(seconds));
      timer.async_wait([&shared, work, keep = weak.lock()](beast::error_code cancelled) {
        if (cancelled || shared.stopping) return;
        work();
        if (keep) (*keep)();
      });
    };
    (*again)();
  });
}

HttpServerStats HttpServer::stats() const {
  std::lock_guard lock(impl_->shared->mutex);
  return impl_->shared->stats;
}

bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::pair<std::string, uint16_t> parse_listen(const std::string& text, const std::string& field) {
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon);
  const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos &&
                      std::stoi(port) <= 65535;
  if (host.empty() || !digits) {
    fail_usage(
        field + " = \"" + text + "\" is no HOST:PORT",
        "write 127.0.0.1:8800, 0.0.0.0:8800 for every interface, or port 0 for any free one");
  }
  return {host, static_cast<uint16_t>(std::stoi(port))};
}

}  // namespace zeroth
