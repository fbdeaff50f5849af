// SPDX-License-Identifier: Apache-2.0
// Zeros of every type: a gradient for rows that have none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slotwise {

constexpr size_t kZeroElements = 4096;  // of any type; they stay in the first-level cache

// All bits are zero, which is 0 in each type.
alignas(64) extern const unsigned char kZeros[kZeroElements * sizeof(double)];

}  // namespace slotwise
