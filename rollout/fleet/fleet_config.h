// How a run's samples come from workers: the section `fleet` of a run's config.
#pragma once

#include <string>

#include "core/config.h"

namespace zeroth {

struct FleetConfig {
  std::string listen;
  std::string token_file, certificate, key;
  double lease_s = 30;
  double audit_rate = 0.05;
  int max_workers = 10000;
  int result_mb = 64;
  int group_split = 0;
  bool serve = false;
  template <class V>
  void fields(V& v) {
    v("listen", listen,
      "HOST:PORT where workers (zeroth worker) get their work; empty: samples are drawn here");
    v("token_file", token_file,
      "file with a token a line that workers must know; empty: RUN/fleet/token is made");
    v("certificate", certificate, "PEM certificate chain: TLS 1.3 only; empty: plain HTTP");
    v("key", key, "PEM key of the certificate");
    v("lease_s", lease_s, "seconds without a new token after which work is given to another worker",
      Range{0.1, 86400});
    v("audit_rate", audit_rate,
      "share of the groups that are computed again here before they count, draws included; 1 = all",
      Range{0, 1});
    v("max_workers", max_workers, "workers at a time; others are told to try again",
      Range{1, 1000000});
    v("result_mb", result_mb, "longest result that is read, in MiB", Range{1, 4096});
    v("group_split", group_split,
      "samples of one lease at most, so that a group can be shared; 0 = whole groups",
      Range{0, 65536});
    v("serve", serve,
      "answer /v1/models, /v1/completions and /v1/chat/completions there too, by the newest "
      "weights "
      "(zeroth serve)");
  }
};

}  // namespace zeroth
