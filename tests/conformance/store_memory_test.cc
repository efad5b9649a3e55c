#include "store/memory_store.h"
#include "store_suite.h"

namespace tertulia {
namespace {

class MemoryUnderTest final : public StoreUnderTest {
 public:
  MemoryUnderTest() { start(); }
  ~MemoryUnderTest() override { end(); }
  bool restart(bool) override { return false; }
  void poison() override {
    static_cast<MemoryStore&>(store()).refuse(
        [](const Message& message) { return message.text.rfind(kPoison, 0) == 0; });
  }

 private:
  void start() override { store_ = std::make_unique<MemoryStore>(options(), clock); }
};

INSTANTIATE_TEST_SUITE_P(Memory, StoreSuite,
                         testing::Values(StoreKind{
                             "memory",
                             []() -> std::unique_ptr<StoreUnderTest> { return std::make_unique<MemoryUnderTest>(); }}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tertulia
