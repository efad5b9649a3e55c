// Answers of a store go to the executor that the caller gave, never out of the call itself.
#pragma once

#include <utility>

#include "base/executor.h"
#include "base/function.h"

namespace tertulia {

template <class T>
void answer(Executor& executor, Function<void(T)> done, T value) {
  executor.post([done = std::move(done), value = std::move(value)]() mutable { done(std::move(value)); });
}

}  // namespace tertulia
