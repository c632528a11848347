// tasks/plugins/plugin_abi.h as a text; tasks/library.cmake makes it at build time.
#pragma once

namespace zeroth {

extern const char kPluginHeader[];

}  // namespace zeroth
