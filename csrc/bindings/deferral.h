// SPDX-License-Identifier: Apache-2.0
// A variable with its slots whose rows are put off: what Python holds of a DeferredTable.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bindings/operands.h"
#include "drivers/deferred.h"

namespace slotwise {

// Waits until nobody reads or writes, without the GIL: who has the lock may wait for it.
std::unique_lock<FairMutex> AloneWith(FairMutex& mutex);

class Deferral {
 public:
  // `arrays` are the variable and its slots, in the order of the rule's. `scope` says what moves of
  // the rows that a gradient leaves out: "rows" (nothing of the rule's), "slots" or "whole".
  // `average` is None or the variable's. `last` has an int32 for each row, all 0. `rows` are those
  // of the table of which this is a part, or all of it.
  Deferral(const std::string& op, const std::string& rule, const pybind11::tuple& arrays,
           const pybind11::object& scope, const pybind11::object& average,
           const pybind11::object& last, int64_t rows);
  ~Deferral();
  Deferral(const Deferral&) = delete;
  Deferral& operator=(const Deferral&) = delete;

  DeferredTable& table() const { return *table_; }
  const Updated& arrays() const { return *arrays_; }

  // Raises if it is not of just these arrays.
  void RequireOf(const char* op, const RuleEntry& rule, const Updated& arrays,
                 const ArrayArgument* average) const;
  // Raises if steps of these numbers cannot be put off, or if memory has moved.
  void Require(const Motion& motion) const;
  // The numbers of a step, for what moves.
  Motion MotionOf(const double* hypers, const bool* attrs) const;

  // Whether it holds rows that have steps to make up for.
  bool is_behind() const { return table_->is_behind(); }
  // Raises if an array lies in memory of which rows have steps to make up for: what is there is not
  // what a Variable shows.
  // (`own`: one of which that is known.)
  static void RequireNoneBehind(const NamedArray& array, const Deferral* own = nullptr) {
    if (!all_.empty() && trusted_ == 0) CompareWithAll(array, &own, 1);
  }
  // The same for arrays of several of which it is known.
  static void RequireNoneBehind(const NamedArray& array, const std::vector<const Deferral*>& own) {
    CompareWithAll(array, own.data(), own.size());
  }
  // Until its end, memory that is behind is let pass: of those who know.
  class Trust {
   public:
    Trust() { ++trusted_; }
    ~Trust() { --trusted_; }
    Trust(const Trust&) = delete;
    Trust& operator=(const Trust&) = delete;
  };

  void Flush();
  // The variable, its slots and its average.
  pybind11::tuple Arrays() const;
  // All of it in numbers beside `last`, and back.
  pybind11::object Clock() const;
  void Restore(const pybind11::object& last, const pybind11::object& clock);
  // Rows as they are now, of the variable, of a slot by its number, or of the average.
  pybind11::object Read(const pybind11::object& which, const pybind11::object& ids,
                        const pybind11::object& out) const;

  const pybind11::object& last() const { return last_array_; }

 private:
  static void CompareWithAll(const NamedArray& array, const Deferral* const* own, size_t count);
  size_t ParseWhich(const pybind11::object& which) const;
  void RequireUnchanged() const;

  static inline std::vector<const Deferral*> all_;  // guarded by the GIL, as is the next
  static inline int trusted_ = 0;

  std::string op_;
  const RuleEntry& rule_;
  std::unique_ptr<Updated> arrays_;
  std::optional<ArrayArgument> average_;
  pybind11::object last_array_;
  Pinned pinned_var_, pinned_average_;
  std::array<Pinned, kMaxSlots> pinned_slots_;
  Movement movement_;
  bool keeps_slots_ = false;
  std::unique_ptr<DeferredTable> table_;
};

}  // namespace slotwise
