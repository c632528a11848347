// The table of filters, in three files.
#pragma once

#include <string>
#include <unordered_map>

#include "text/jinja/builtins.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {

using Filter = Value (*)(Runtime&, const Value& subject, const Arguments& arguments);
using FilterTable = std::unordered_map<std::string, Filter>;

FilterTable text_filters();
FilterTable sequence_filters();

}  // namespace zeroth::jinja
