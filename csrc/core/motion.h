// SPDX-License-Identifier: Apache-2.0
// What a rule says of a row in a step that has no gradient for it, so that such steps can be put
// off and made up for together (see clock.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace slotwise {

// How var moves then.
enum class Drift : uint8_t {
  kUnknown,   // in no way that could be put off
  kNone,      // not at all
  kFading,    // by terms rate * ratio^i, where i is the age of the row, with ratio < 1
  kLasting,   // the same with a ratio of 1, for as long as the slot lasts
  kReplaced,  // it becomes a function of the slots and of the numbers of the latest step
};

// By which numbers of an element the terms are multiplied.
enum class Base : uint8_t {
  kNone,
  kSlot,        // a slot
  kSign,        // its sign
  kOver,        // slot / (other + epsilon)
  kOverRoot,    // slot / (sqrt(other) + epsilon)
  kOverLargest  // the same, where another slot keeps the largest value of `other` from the start
};

struct Movement {
  Drift drift = Drift::kUnknown;
  Base base = Base::kNone;
  size_t slot = 0, other = 0, squares = 0;  // of kOverLargest: `squares` is what `other` is of
  // Slots that fade as slot + (0 - slot) * lost: of one that is infinite, that makes NaN, and of
  // var by what follows. All others are multiplied.
  std::array<bool, kMaxSlots> sums{};
};

// The numbers of a step: those of the kernel, as it rounds them, widened.
struct Motion {
  std::array<double, kMaxSlots> kept{1, 1, 1};  // what a slot is multiplied by
  double rate = 0;
  double ratio = 0;
  double epsilon = 0;
  double shrink = 1;     // what the root, or `other`, is multiplied by
  double sign_kept = 1;  // kSign: what the slot is multiplied by, where its sign is taken
  bool is_idle = false;  // kReplaced: the step changes nothing
};

}  // namespace slotwise
