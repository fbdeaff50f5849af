// SPDX-License-Identifier: Apache-2.0
// Which memory an update writes.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace slotwise {

// Disjoint intervals in ascending order.
class WrittenMemory {
 public:
  using Interval = std::pair<const char*, const char*>;

  explicit WrittenMemory(std::vector<Interval> intervals) {
    std::sort(intervals.begin(), intervals.end());
    for (const Interval& next : intervals) {
      if (next.first == next.second) continue;
      if (!merged_.empty() && next.first < merged_.back().second) {
        has_overlaps_ = true;
        merged_.back().second = std::max(merged_.back().second, next.second);
      } else {
        merged_.push_back(next);
      }
    }
  }

  bool has_overlaps() const { return has_overlaps_; }

  bool Overlaps(const Interval& memory) const {
    if (memory.first == memory.second) return false;
    const auto after = std::upper_bound(merged_.begin(), merged_.end(), memory.first, &IsBefore);
    if (after != merged_.end() && after->first < memory.second) return true;
    return after != merged_.begin() && memory.first < std::prev(after)->second;
  }

 private:
  static bool IsBefore(const char* address, const Interval& interval) {
    return address < interval.first;
  }

  std::vector<Interval> merged_;
  bool has_overlaps_ = false;
};

}  // namespace slotwise
