// SPDX-License-Identifier: Apache-2.0
// Grouping of row ids: which rows occur, and where. Knows nothing of rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/scratch.h"
#include "core/types.h"

namespace slotwise {

// An id, read from memory just once: another thread may be changing it, and what was checked must
// be what is used.
template <class Id>
inline int64_t ReadOnce(const Id* id) {
  return static_cast<int64_t>(__atomic_load_n(id, __ATOMIC_RELAXED));
}

struct RowIds {
  const void* data;  // contiguous
  bool is_int64;     // else int32
  size_t count;

  int64_t operator[](size_t i) const {
    return is_int64 ? ReadOnce(static_cast<const int64_t*>(data) + i)
                    : ReadOnce(static_cast<const int32_t*>(data) + i);
  }
};

// Position of the first id that is not in [0, num_rows), if any is.
std::optional<size_t> FirstOutside(const RowIds& ids, int64_t num_rows);

class RowGroups {
 public:
  // Fewer ids for a thread are grouped sooner without it (measured).
  static constexpr size_t kMinIdsPerPart = 8192;
  static constexpr size_t kMinIdsForThreads = 2 * kMinIdsPerPart;

  // Ids outside of [0, num_rows) are in no group. At most 2^32 - 1 ids.
  RowGroups(const RowIds& ids, int64_t num_rows);

  const RowGroupsView& view() const { return view_; }
  int64_t num_rows() const { return num_rows_; }
  size_t id_count() const { return id_count_; }
  size_t skipped() const { return id_count_ - view_.offsets[view_.groups]; }

  // Position of the first id that is out of range, if any is.
  std::optional<size_t> first_outside() const { return first_outside_; }

  // The first position that repeats an earlier id, if any does, and that earlier position.
  struct Repeat {
    size_t position, earlier;
  };
  std::optional<Repeat> first_repeat() const;

  // The ids as they were given; -1 for those in no group.
  ScratchArray<int64_t> Ids() const;
  std::vector<bool> LeftOut() const;  // empty: none is

  // Group numbers in the order of first appearance (the groups themselves are in no useful order).
  ScratchArray<uint32_t> InOrderOfAppearance() const;

 private:
  int64_t num_rows_;
  size_t id_count_;
  std::optional<size_t> first_outside_;
  Scratch memory_;  // of what the view shows
  RowGroupsView view_;
};

}  // namespace slotwise
