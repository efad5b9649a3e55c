#include "store/open_store.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

TEST(OpenStore, AStoreThatDoesNotExistIsSaidSoWithoutThePasswordThatMayBeInIt) {
  SystemClock clock;
  for (const char* kind : {"", "SQLite", "mysql://ana:secret@host/db", "mongodb:/ana:secret@host", "mongodb",
                           "postgresql:ana:secret@host"}) {
    const OpenedStore opened = open_store(kind, "", {}, clock);
    EXPECT_EQ(opened.store, nullptr) << kind;
    EXPECT_NE(opened.error.find("--store sqlite"), std::string::npos) << kind;
    EXPECT_EQ(opened.error.find("secret"), std::string::npos) << kind;
  }
}

}  // namespace
}  // namespace tertulia
