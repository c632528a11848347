// Rows of a data file: JSON Lines (.gz too), or one JSON array of objects.
#pragma once

#include <functional>
#include <string>

#include "core/config.h"

namespace zeroth {

// Calls row(object, place) for every row in order; `place` is "FILE:LINE" (or "FILE[INDEX]" for an
// array), for errors. Throws Error that names the place when a row is malformed or no object.
void for_each_row(const std::string& path,
                  const std::function<void(const Json& row, const std::string& place)>& row);

}  // namespace zeroth
