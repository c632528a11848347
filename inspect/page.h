// The inspector's page: files built into the binary, and one HTML made of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace zeroth {

class RunView;

struct PageFile {
  const char* name;
  std::string_view content;
};
const std::vector<PageFile>& page_files();

std::string page_style();   // all style sheets
std::string page_script();  // all scripts in order

// The page that the server sends: style and script are links to "style.css" and "app.js".
std::string served_page();

// One self-contained HTML with up to `traces` samples (whole groups of steps spread over the run,
// the first ahas, probe problems), under about 5 MB; opens from disk without a network.
std::string exported_page(RunView& view, int traces);

}  // namespace zeroth
