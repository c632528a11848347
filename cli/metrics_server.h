// GET /metrics of a run that trains, for Prometheus.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace zeroth {

class HttpServer;

// Serves the newest row of the run's metrics at /metrics and "ok" at /healthz, on a thread of its
// own, until it is destroyed. Numbers only; no key is asked for.
class MetricsServer {
 public:
  // `listen` is HOST:PORT or PORT. Throws Error when it cannot be had.
  MetricsServer(std::filesystem::path run, const std::string& listen);
  ~MetricsServer();
  const std::string& url() const { return url_; }

 private:
  std::filesystem::path run_;
  std::string url_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace zeroth
