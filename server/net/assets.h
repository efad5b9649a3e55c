// The page's files, embedded in the binary at build time from web/dist (cmake/embed.cmake).
// Thread: any. Memory: the binary's own, read-only.
#pragma once

#include <span>
#include <string_view>

namespace tertulia {

struct Asset {
  std::string_view path;  // "/index.html"
  std::string_view content_type;
  std::string_view etag;  // of the content, with its quotes
  std::string_view body;
};

// Empty if nothing was there when the server was built.
std::span<const Asset> embedded_assets();

}  // namespace tertulia
