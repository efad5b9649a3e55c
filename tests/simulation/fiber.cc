#include "fiber.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SIMULATION_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define SIMULATION_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(SIMULATION_ASAN)
#include <sanitizer/common_interface_defs.h>
#define SIMULATION_ASAN 1
#endif
#endif

namespace tertulia::simulation {
namespace {

constexpr size_t stack_bytes = 256 << 10;

std::vector<void*>& pool() {
  static std::vector<void*> stacks;
  return stacks;
}

void* take_stack() {
  if (!pool().empty()) {
    void* const stack = pool().back();
    pool().pop_back();
    return stack;
  }
  void* const stack = ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack != MAP_FAILED, "there is memory for a fiber's stack");
  CHECK(::mprotect(stack, 4096, PROT_NONE) == 0, "a stack can be guarded");  // an overflow is a crash, not a mystery
  return stack;
}

Fiber* running = nullptr;

}  // namespace

struct Fiber::Context {
  Function<void()> body;
  void* stack = nullptr;
  bool begun = false, ended = false;
  ucontext_t inside{}, outside{};
#ifdef SIMULATION_ASAN
  void* fake_stack = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_size = 0;
#elif defined(SIMULATION_TSAN)
  void* tsan_inside = nullptr;
  void* tsan_outside = nullptr;
#else
  // swapcontext() asks the kernel for the signal mask each time; after the first entry this needs no kernel.
  jmp_buf inside_jump{}, outside_jump{};
#endif
};

Fiber::Fiber(Function<void()> body) : context_(std::make_unique<Context>()) {
  context_->body = std::move(body);
}

Fiber::~Fiber() {
  CHECK(!context_->begun || context_->ended, "a fiber ends before it is destroyed");
#ifdef SIMULATION_TSAN
  if (context_->tsan_inside != nullptr) __tsan_destroy_fiber(context_->tsan_inside);
#endif
  if (context_->stack != nullptr) pool().push_back(context_->stack);
}

Fiber* Fiber::current() {
  return running;
}

bool Fiber::ended() const {
  return context_->ended;
}

void Fiber::enter() {
  Fiber* const self = running;
  Context& context = *self->context_;
#ifdef SIMULATION_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &context.outside_bottom, &context.outside_size);
#endif
  context.body();
  context.body = nullptr;
  context.ended = true;
#ifdef SIMULATION_ASAN
  __sanitizer_start_switch_fiber(nullptr, context.outside_bottom, context.outside_size);
  ::setcontext(&context.outside);
#elif defined(SIMULATION_TSAN)
  __tsan_switch_to_fiber(context.tsan_outside, 0);
  ::setcontext(&context.outside);
#else
  ::_longjmp(context.outside_jump, 1);
#endif
}

void Fiber::resume() {
  CHECK(running == nullptr && !context_->ended, "a fiber is resumed from outside, while it lives");
  Context& context = *context_;
  running = this;
  const bool first = !context.begun;
  if (first) {
    context.begun = true;
    context.stack = take_stack();
    ::getcontext(&context.inside);
    context.inside.uc_stack.ss_sp = static_cast<char*>(context.stack) + 4096;
    context.inside.uc_stack.ss_size = stack_bytes - 4096;
    context.inside.uc_link = nullptr;
    ::makecontext(&context.inside, &Fiber::enter, 0);
  }
#ifdef SIMULATION_ASAN
  void* own_fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&own_fake_stack, context.inside.uc_stack.ss_sp, context.inside.uc_stack.ss_size);
  ::swapcontext(&context.outside, &context.inside);
  __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#elif defined(SIMULATION_TSAN)
  if (first) context.tsan_inside = __tsan_create_fiber(0);
  context.tsan_outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context.tsan_inside, 0);
  ::swapcontext(&context.outside, &context.inside);
#else
  if (::_setjmp(context.outside_jump) == 0) {
    if (first) {
      ::setcontext(&context.inside);
    } else {
      ::_longjmp(context.inside_jump, 1);
    }
  }
#endif
  running = nullptr;
}

void Fiber::block() {
  CHECK(running != nullptr, "only a fiber blocks");
  Context& context = *running->context_;
#ifdef SIMULATION_ASAN
  __sanitizer_start_switch_fiber(&context.fake_stack, context.outside_bottom, context.outside_size);
  ::swapcontext(&context.inside, &context.outside);
  __sanitizer_finish_switch_fiber(context.fake_stack, &context.outside_bottom, &context.outside_size);
#elif defined(SIMULATION_TSAN)
  __tsan_switch_to_fiber(context.tsan_outside, 0);
  ::swapcontext(&context.inside, &context.outside);
#else
  if (::_setjmp(context.inside_jump) == 0) ::_longjmp(context.outside_jump, 1);
#endif
}

}  // namespace tertulia::simulation
