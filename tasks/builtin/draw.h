// A small picture by a rule: so many cells of each colour one after another, the others blank. For
// policies whose completion is an image of codes (docs/images.md); any policy can write the names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct DrawOptions {
  int rows = 3, columns = 3;
  std::vector<std::string> colours = {"red", "green", "blue"};
  std::string blank = ".";
  int runs = 2, longest_run = 3;
  std::string score = "cells";
  std::string end = "<begin_of_image>";
  int held_out_every = 8;
  uint64_t seed = 0;
  double accuracy_weight = 1;

  template <class V>
  void fields(V& v) {
    v("rows", rows, "rows of a picture", Range{1, 64});
    v("columns", columns, "columns of a picture", Range{1, 64});
    v("colours", colours, "names of the colours, 1 to 16 words");
    v("blank", blank, "name of a cell without a colour");
    v("runs", runs, "most runs of one colour in a picture", Range{1, 3});
    v("longest_run", longest_run, "most cells of a run", Range{1, 9});
    v("score", score, "cells: the share of right cells; all: 1 if every cell is right, else 0");
    v("end", end, "text that ends the prompt: the token that begins an image");
    v("held_out_every", held_out_every, "one prompt in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "which problem has which number");
    v("accuracy_weight", accuracy_weight, "weight of the accuracy reward", Range{-1000, 1000});
  }
};

// Prompt "2 red 1 blue in a row<begin_of_image>": from the first cell on 2 cells are red and 1 is
// blue, along the rows ("in a column": along the columns); neighbouring runs differ. The completion
// is the cells row by row, each by its name in brackets: "[red][red][blue][.]..". meta holds {"rows",
// "columns", "cells": [names]}. Facts: cells_right (share), whole (0 or 1).
class DrawTask : public Task {
 public:
  explicit DrawTask(DrawOptions options);
  std::string name() const override { return "draw"; }
  // Prompts that differ: all of them.
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  const DrawOptions& options() const { return options_; }

 private:
  struct Run {
    int cells, colour;
  };
  struct Order {
    bool column = false;
    std::vector<Run> runs;
  };
  std::string words(const Order& order) const;
  std::vector<std::string> cells(const Order& order) const;
  void list(Order& order, int left);

  DrawOptions options_;
  std::vector<Order> train_, held_out_;
};

}  // namespace zeroth
