#include "cli/metrics_server.h"

#include <tuple>

#include "net/http_server.h"
#include "record/newest_metrics.h"

namespace zeroth {

MetricsServer::MetricsServer(std::filesystem::path run, const std::string& listen)
    : run_(std::move(run)) {
  HttpServerOptions options;
  std::tie(options.address, options.port) = parse_listen(listen, "--metrics-listen");
  options.connections = 64;
  options.bodies_bytes = 1 << 20;
  server_ = std::make_unique<HttpServer>(options);
  const bool six = options.address.find(':') != std::string::npos;
  url_ = "http://" + (six ? "[" + options.address + "]" : options.address) + ":" +
         std::to_string(server_->port()) + "/metrics";
  server_->start(
      [](const HttpRequest&, uint64_t& bytes) -> std::optional<HttpReply> {
        bytes = 0;  // no request has a body
        return std::nullopt;
      },
      [this](const HttpExchangePtr& exchange) {
        const HttpRequest& request = exchange->request();
        if (request.method == "GET" && request.path == "/metrics")
          return exchange->reply(
              {.type = "text/plain; version=0.0.4", .text = prometheus_text(newest_metrics(run_))});
        if (request.method == "GET" && request.path == "/healthz")
          return exchange->reply({.type = "text/plain", .text = "ok\n"});
        exchange->reply({.status = 404, .type = "text/plain", .text = "there is /metrics\n"});
      });
}

MetricsServer::~MetricsServer() { server_->stop(); }

}  // namespace zeroth
