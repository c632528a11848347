// The HTTP carrier: a server that grades, in its own shape or in one that other trainers use.
#pragma once

#include <string>

#include "net/http_client.h"
#include "tasks/plugins/plugin_pool.h"

namespace zeroth {

// Shapes of requests and answers:
//   zeroth     the messages of the process carrier, POSTed as they are
//   openrlhf   POST {"query": [prompt + completion], "prompts": [..], "labels": [answer]};
//              answer {"rewards": [..]}, with "scores" and "extra_logs" (lists) as facts
//   nemo_gym   one POST a completion: {"responses_create_params", "response"} in the form of
//              OpenAI's Responses API plus the problem's meta; answer {"reward": x, ..}, whose
//              other numbers become facts
// The last two only grade; their problems come from another task.
enum class HttpShape { kZeroth, kOpenRlhf, kNemoGym };
HttpShape http_shape(const std::string& name);  // throws a usage Error

// Answers are at most 64 MiB.
class HttpChannel : public PluginChannel {
 public:
  HttpChannel(HttpUrl url, HttpShape shape);
  ~HttpChannel() override;
  void open() override {}  // connects with the first request
  void close() override;
  void call(const Json& request, double seconds, double grace, const TakeReply& take) override;

 private:
  // POSTs and parses the answer. Throws PluginFault.
  Json post(const Json& body, double seconds, double grace);
  HttpClient client_;
  HttpShape shape_;
};

}  // namespace zeroth
