// A callable that can be moved and not copied, for work handed from one thread to another.
//
// std::function wants copies, and std::move_only_function is newer than the compilers we build with.
// Thread: none of its own. Ends: the callable is destroyed with the Function, called or not.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace tertulia {

template <class Signature>
class Function;

template <class Result, class... Args>
class Function<Result(Args...)> {
 public:
  Function() = default;
  Function(std::nullptr_t) {}  // NOLINT: as std::function
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Function> && std::is_invocable_r_v<Result, F&, Args...>)
      Function(F&& f)  // NOLINT: as std::function
      : call_(std::make_unique<Held<std::remove_cvref_t<F>>>(std::forward<F>(f))) {}

  explicit operator bool() const { return call_ != nullptr; }
  // REQUIRES: not empty.
  Result operator()(Args... args) const { return call_->run(std::forward<Args>(args)...); }

 private:
  struct Call {
    virtual ~Call() = default;
    virtual Result run(Args... args) = 0;
  };
  template <class F>
  struct Held final : Call {
    explicit Held(F&& f) : f_(std::move(f)) {}
    explicit Held(const F& f) : f_(f) {}
    Result run(Args... args) override { return f_(std::forward<Args>(args)...); }
    F f_;
  };
  std::unique_ptr<Call> call_;
};

}  // namespace tertulia
