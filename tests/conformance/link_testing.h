// What tests of links say of an outcome.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/testing.h"
#include "store/cluster/link.h"

namespace tertulia {

// EXPECT_TRUE(done(link.put(…))): it is no failure, or the test says why it is one.
inline testing::AssertionResult done(const cluster::Failure& failure) {
  if (!failure) return testing::AssertionSuccess();
  const char* const troubles[] = {"none", "message", "not_now", "unknown", "fenced"};
  return testing::AssertionFailure() << troubles[static_cast<size_t>(failure.trouble)] << ": " << failure.reason;
}

// Prepares it as a node does, which starts together with its database and waits for it. Empty, or what it says at last.
inline std::string prepare(cluster::Database& database) {
  std::string error;
  const auto prepared = [&] {
    error = database.prepare();
    return error.empty();
  };
  (void)eventually(prepared, std::chrono::seconds(60));
  return error;
}

}  // namespace tertulia
