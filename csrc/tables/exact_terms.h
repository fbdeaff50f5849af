// SPDX-License-Identifier: Apache-2.0
// The exact sums of the gradients of rows, as few gradients of the same type: what another machine
// can add up to the same sums.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/scratch.h"
#include "core/types.h"

namespace slotwise {

struct TermsCall {
  DType dtype;
  size_t width;
  RowGradients gradients;  // of bags, they are float32 or float64: their terms are not rounded
  RowGroupsView groups;
  const uint32_t* order;  // of groups, as their rows are to come
  size_t count;           // of these
};

// For each group, rows whose sum is the sum of its gradients, without rounding: one if it has one
// gradient; the sum, rounded, and what that leaves, if that is fewer than its gradients; else its
// gradients.
class ExactTerms {
 public:
  explicit ExactTerms(const TermsCall& call);

  const uint32_t* counts() const { return counts_.begin(); }  // of rows, in order
  size_t rows() const { return starts_[call_.count]; }
  void Write(void* out) const;  // rows() rows

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  size_t Occurrences(size_t i) const;
  static void SumRange(const void* context, size_t begin, size_t end);
  static void WriteRange(const void* context, size_t begin, size_t end);
  unsigned char* SumsOf(size_t place) const;

  const TermsCall call_;
  const size_t row_bytes_;
  ScratchArray<uint32_t> counts_;
  ScratchArray<uint32_t> places_;  // among the groups that are summed; kNone: it is not
  ScratchArray<size_t> starts_;    // of rows; before, of ids
  ScratchArray<uint32_t> summed_;  // which groups are summed, as places in the order
  size_t summed_count_ = 0;
  Scratch memory_;
  unsigned char* sums_ = nullptr;
};

}  // namespace slotwise
