// CHECK(condition, "sentence that is true"): our own mistakes end the process with the place and the sentence.
// Input of a user, a peer or the operating system never reaches a CHECK; it gets a [[nodiscard]] result.
#pragma once

namespace tertulia {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* sentence);

}  // namespace tertulia

#define CHECK(condition, sentence) \
  ((condition) ? static_cast<void>(0) : ::tertulia::check_failed(__FILE__, __LINE__, #condition, sentence))
