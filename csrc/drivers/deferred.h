// SPDX-License-Identifier: Apache-2.0
// A table of which a step writes the rows that its gradient names, and no other: a row makes up for
// the steps that it missed when it is named again, or read.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"

#include "core/clock.h"
#include "core/fair_mutex.h"
#include "core/registry.h"
#include "drivers/kernel.h"
#include "passes/skip.h"
#include "simd/row.h"

namespace slotwise {

class DeferredTable {
 public:
  struct Memory {
    DType dtype;
    size_t rows, width, slot_count;
    void* var;
    void* slots[kMaxSlots];
    void* average;      // null: there is none
    int32_t* last;      // the step at which each row stands
    size_t whole_rows;  // of all parts of the table: what goes by its size is alike in all
  };

  // `movement`: of the rows that a gradient leaves out, as this optimizer means the rule.
  DeferredTable(const RuleEntry& rule, const Movement& movement, const Memory& memory);

  Clock& clock() { return clock_; }
  const Clock& clock() const { return clock_; }
  const Movement& movement() const { return movement_; }
  const Memory& memory() const { return memory_; }

  // Whether rows have steps to make up for. (Asked without the lock.)
  bool is_behind() const { return is_behind_; }

  // Who writes holds it alone, who reads shares it.
  FairMutex& mutex() const { return mutex_; }

  // ----- in a step, which holds the lock -------------------------------------------------------

  // Fetches what a row's turn begins with: soon, all of its arrays; before, the step it stands at.
  // (Inline: GCC sees no effect in a function that does no more, and leaves out its calls.)
  HWY_INLINE void Fetch(size_t row) const {
    PrefetchRow(At(memory_.var, row), row_bytes_);
    for (size_t i = 0; i < memory_.slot_count; ++i) {
      PrefetchRow(At(memory_.slots[i], row), row_bytes_);
    }
    if (memory_.average != nullptr) PrefetchRow(At(memory_.average, row), row_bytes_);
  }
  HWY_INLINE void FetchStep(size_t row) const { hwy::Prefetch(memory_.last + row); }
  // Brings rows that stand at the same step to now.
  void CatchUp(size_t row, size_t count = 1) const;
  // The row has taken the step after now.
  void Stamp(size_t row) const { memory_.last[row] = clock_.now() + 1; }
  // All rows that were stamped have taken the step.
  void Tick(const Motion& motion, const Clock::Around& around, const double* hypers,
            const bool* attrs);

  // Brings all rows to now, from where the clock starts anew. `motion`: of the step that all rows
  // take next, together; null: none.
  void Flush(const Motion* motion);
  // How often all rows were written.
  int64_t flushes() const { return flushes_; }

  // ----- what is saved beside the arrays, while the lock is held ---------------------------------

  void Keep(Record& record);
  // Is as it was written down: rows stand at the steps `last`. Throws std::invalid_argument if that
  // is of no such table; nothing has changed then.
  void Restore(Record& record, const int32_t* last);

  // ----- what reads, sharing the lock ------------------------------------------------------------

  static constexpr size_t kVar = kMaxSlots, kAverage = kMaxSlots + 1;

  // One array of a row as it is now: a slot by its number, kVar or kAverage.
  void ReadRow(size_t row, size_t which, void* to) const;

 private:
  const unsigned char* At(const void* array, size_t row) const {
    return static_cast<const unsigned char*>(array) + row * row_bytes_;
  }
  unsigned char* At(void* array, size_t row) const {
    return static_cast<unsigned char*>(array) + row * row_bytes_;
  }
  // By a gradient of zero with the numbers of the latest step.
  void Replace(const ByteArrays& arrays, size_t count) const;
  // What is read of a row; nothing is written yet.
  SkippedRow RowAt(size_t row) const;
  void Skip(int32_t s, const SkippedRow& row, size_t count = 1) const;
  void MakeLatest();
  int32_t Kind() const;
  static void FlushRange(const void* context, size_t begin, size_t end);

  const RuleEntry& rule_;
  const Movement movement_;
  const Memory memory_;
  const size_t row_bytes_;
  Clock clock_;
  AnyCoefficients latest_{};  // of a rule that replaces var, made of these
  std::array<double, kMaxHypers> hypers_{};
  std::array<bool, kMaxAttrs> attrs_{};
  std::atomic<bool> is_behind_{false};
  std::atomic<int64_t> flushes_{0};
  mutable FairMutex mutex_;
};

}  // namespace slotwise
