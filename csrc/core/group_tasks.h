// SPDX-License-Identifier: Apache-2.0
// Work on groups of rows, each group by one thread.
#pragma once

#include <algorithm>

#include "core/threads.h"
#include "core/types.h"

namespace slotwise {

// Calls task(begin, end) on ranges of groups that cover all of them and cost about the same: one
// unit per occurrence, and `group_cost` units per group. A unit is `unit_bytes` of memory.
template <class Task>
class GroupTasks {
 public:
  GroupTasks(const Task& task, const RowGroupsView& groups, size_t group_cost, size_t unit_bytes)
      : task_(task), groups_(groups), group_cost_(group_cost) {
    const size_t min_units =
        std::max(size_t{1}, kMinBytesPerThread / std::max(size_t{1}, unit_bytes));
    ParallelFor({UnitsBefore(groups.groups), min_units, 0, 1}, &Run, this);
  }

 private:
  size_t UnitsBefore(size_t group) const { return groups_.offsets[group] + group * group_cost_; }

  size_t FirstGroupFrom(size_t unit) const {
    size_t low = 0, high = groups_.groups;
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (UnitsBefore(middle) < unit) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  static void Run(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const GroupTasks*>(context);
    self.task_(self.FirstGroupFrom(begin), self.FirstGroupFrom(end));
  }

  const Task& task_;
  const RowGroupsView& groups_;
  size_t group_cost_;
};

}  // namespace slotwise
