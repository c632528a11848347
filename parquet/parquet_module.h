/* What the program and its Parquet module say to each other: plain C, so that the module may be
   built against another C++ library than the program. */
#pragma once

#include <stddef.h>

#define ZEROTH_PARQUET_ROWS "zeroth_parquet_rows_v1"

/* One row as a JSON object in UTF-8, `size` bytes; anything but 0 ends the reading. */
typedef int (*zeroth_parquet_row_fn)(void* self, const char* text, size_t size);

/* Calls row(self, ..) for every row of the file. Returns 0 when it came to the end or `row` ended
   it; else 1 with what is wrong, NUL-terminated, in `error`. Never throws. */
typedef int (*zeroth_parquet_rows_fn)(const char* path, zeroth_parquet_row_fn row, void* self,
                                      char* error, size_t error_size);
