// SPDX-License-Identifier: Apache-2.0
// Work on the groups of rows of one table or several, each group by one thread.
#pragma once

#include <algorithm>

#include "core/threads.h"
#include "core/types.h"

namespace slotwise {

// What the groups of a table cost: the memory of one row per occurrence, and of `group_cost` rows
// per group.
struct GroupCosts {
  GroupCosts(const RowGroupsView& view, size_t cost, size_t bytes)
      : count(view.groups), groups(view), group_cost(cost), row_bytes(std::max(size_t{1}, bytes)) {}

  size_t Before(size_t group) const {
    return (groups.offsets[group] + group * group_cost) * row_bytes;
  }

  size_t count;
  const RowGroupsView& groups;
  size_t group_cost, row_bytes;
};

// The first group that at least `byte` bytes come before.
template <class Costs>
size_t FirstGroupFrom(const Costs& costs, size_t byte) {
  size_t low = 0, high = costs.count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (costs.Before(middle) < byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Does what lies between two bytes of the costs of all tables, one behind the other.
template <class Work>
void RunGroupsBetween(const void* context, size_t begin, size_t end) {
  const Work& work = *static_cast<const Work*>(context);
  size_t before = 0;
  for (size_t t = 0; t < work.tables() && before < end; ++t) {
    const auto costs = work.Costs(t);
    const size_t bytes = costs.Before(costs.count);
    if (before + bytes > begin) {
      const size_t first = FirstGroupFrom(costs, std::max(begin, before) - before);
      const size_t last = FirstGroupFrom(costs, std::min(end - before, bytes));
      if (first < last) work(t, first, last);
    }
    before += bytes;
  }
}

// Calls work(table, begin, end) on ranges of groups that cover all groups of all tables. The ranges
// of a thread cost about as much as those of any other. `work.tables()` says how many tables there
// are, `work.Costs(table)` what the groups of one cost.
template <class Work>
void RunGroups(const Work& work) {
  size_t bytes = 0;
  for (size_t t = 0; t < work.tables(); ++t) {
    const auto costs = work.Costs(t);
    bytes += costs.Before(costs.count);
  }
  ParallelFor({bytes, kMinBytesPerThread, 0, 1}, &RunGroupsBetween<Work>, &work);
}

}  // namespace slotwise
