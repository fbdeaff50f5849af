// SPDX-License-Identifier: Apache-2.0
// What drivers know of a rule. They are compiled once; a rule's kernels are compiled once for each
// type and instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace slotwise {

// Where the elements of one update lie. (Drivers count in bytes.)
template <class T, class G = T>
struct Arrays {
  T* var;
  T* slots[kMaxSlots];
  const G* grad;

  // var and the first `count` slots from element `begin` on, with another gradient.
  Arrays From(size_t count, size_t begin, const G* other_grad) const {
    Arrays from;
    from.var = var + begin;
    for (size_t i = 0; i < count; ++i) from.slots[i] = slots[i] + begin;
    from.grad = other_grad;
    return from;
  }
};
using ByteArrays = Arrays<unsigned char>;

// The arrays of a call, a tensor or a table, without a gradient.
template <class Call>
ByteArrays BytesOf(const Call& call) {
  ByteArrays arrays;
  arrays.var = static_cast<unsigned char*>(call.var);
  for (size_t i = 0; i < kMaxSlots; ++i) {
    arrays.slots[i] = static_cast<unsigned char*>(call.slots[i]);
  }
  arrays.grad = nullptr;
  return arrays;
}

// What a rule makes of a call's numbers, in the type that is computed in.
struct alignas(16) AnyCoefficients {
  unsigned char memory[128];
};

// One way to update a run of `count` elements.
struct Kernel {
  size_t slots;
  void (*make)(const double* hypers, const bool* attrs, AnyCoefficients* to);
  void (*update)(const AnyCoefficients& coefficients, const ByteArrays& arrays, size_t count);
};

constexpr size_t kLineBytes = 64;  // of a cache line

// How many elements come before the first boundary of cache lines.
inline size_t LinePhase(const void* array, size_t element_bytes) {
  const size_t line = kLineBytes / element_bytes;
  return (line - reinterpret_cast<uintptr_t>(array) / element_bytes % line) % line;
}

// Elements that stages (weight decay, the update, averages) pass over in turn: so many that their
// arrays stay in the first-level cache.
constexpr size_t kStagedBlock = 512;

}  // namespace slotwise
