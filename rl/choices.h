// Names in a config that stand for values of an enum.
#pragma once

#include <string>
#include <utility>

#include "core/error.h"

namespace zeroth {

// The value that `name` stands for; a usage Error names the field otherwise.
template <class Value, size_t N>
Value choice_of(const std::string& name, const std::pair<const char*, Value> (&table)[N],
                const char* field) {
  for (const auto& [key, value] : table) {
    if (name == key) return value;
  }
  fail_usage(std::string(field) + " = \"" + name + "\" is not known",
             "zeroth train --help lists the choices");
}

}  // namespace zeroth
