// Images that a policy drew as codes (docs/images.md), for the page.
#pragma once

#include <span>

#include "core/config.h"
#include "core/trajectory.h"

namespace zeroth {

// How a run's policy draws, by its run record: {"images": {"first", "codes", "rows", "columns"}}.
struct PictureShape {
  int64_t first = 0, codes = 0;  // the token id of code 0, and how many there are; 0: none
  int64_t rows = 0, columns = 0;
};
// All 0 when it is not there or is no shape.
PictureShape picture_shape(const Json& run_info);

// [{"first": token, "rows", "columns", "codes": [..]}] of the runs of codes among these tokens, cut
// at whole images; the last one may lack cells.
Json pictures_of(const PictureShape& shape, std::span<const TokenId> tokens);

}  // namespace zeroth
