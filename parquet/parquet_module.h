/* What the program and its Parquet module say to each other: plain C, so that the module may be
   built against another C++ library than the program. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The name of a function () that returns the table below. */
#define ZEROTH_PARQUET "zeroth_parquet_v2"

typedef struct zeroth_parquet_file zeroth_parquet_file;

/* One row as a JSON object in UTF-8 on one line, `size` bytes; anything but 0 ends the reading. */
typedef int (*zeroth_parquet_row_fn)(void* self, const char* text, size_t size);

/* None of these throws. What is wrong comes NUL-terminated in `error`. A file is used by one thread
   at a time. */
typedef struct zeroth_parquet_table {
  /* Reads what the file says of itself, no row. NULL: see `error`. */
  zeroth_parquet_file* (*open)(const char* path, char* error, size_t error_size);
  void (*close)(zeroth_parquet_file* file);
  int64_t (*groups)(const zeroth_parquet_file* file); /* row groups */
  /* Of one of them: how many rows, and how many bytes they are when uncompressed. */
  int64_t (*rows)(const zeroth_parquet_file* file, int64_t group);
  int64_t (*bytes)(const zeroth_parquet_file* file, int64_t group);
  /* Calls row(self, ..) for the rows of the group in order, with a page of each column in memory
     at a time. Returns 0 when it came to the end or `row` ended it, else 1. */
  int (*read)(zeroth_parquet_file* file, int64_t group, zeroth_parquet_row_fn row, void* self,
              char* error, size_t error_size);
} zeroth_parquet_table;

typedef const zeroth_parquet_table* (*zeroth_parquet_fn)(void);
