// SPDX-License-Identifier: Apache-2.0
#include "core/row_groups.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "core/threads.h"

namespace slotwise {
namespace {

constexpr size_t kMaxParts = 64;      // enough threads for what memory can take
constexpr size_t kMaxBuckets = 1024;  // of hashes, dealt out to parts so that these are even
constexpr size_t kIdsAhead = 16;      // of the current one: their table entries are prefetched

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio

// Open addressing from row to group number, at most two thirds full.
template <class Row>
class RowTable {
 public:
  explicit RowTable(size_t max_rows) {
    size_t size = 4;
    for (shift_ = 62; 2 * size < 3 * max_rows; --shift_) size *= 2;
    entries_.resize(size);
  }

  void Prefetch(Row row) const { __builtin_prefetch(&entries_[Home(row)]); }

  // The group of `row`: `next` if it is new.
  uint32_t Find(Row row, uint32_t next) {
    const size_t mask = entries_.size() - 1;
    for (size_t i = Home(row);; i = (i + 1) & mask) {
      Entry& entry = entries_[i];
      if (entry.next_group == 0) {
        entry = {row, next + 1};
        return next;
      }
      if (entry.row == row) return entry.next_group - 1;
    }
  }

 private:
  struct Entry {
    Row row;
    uint32_t next_group;  // group + 1; 0 marks an empty entry
  };

  // Mixed twice: after one multiplication, ids of a regular kind could all meet in one place.
  size_t Home(Row row) const {
    uint64_t x = row * kMultiplier;
    x ^= x >> 32;
    return (x * 0xD6E8FEB86659FD93u) >> shift_;
  }

  std::vector<Entry> entries_;
  int shift_;
};

// Ids are dealt out to parts by their hash, in order; then each part is grouped by one thread.
// The ids come in as many chunks as there are parts.
template <class Id, class Row>
class Grouping {
 public:
  Grouping(const RowIds& ids, int64_t num_rows)
      : ids_(static_cast<const Id*>(ids.data)),
        count_(ids.count),
        num_rows_(static_cast<uint64_t>(num_rows)),
        parts_(std::min(kMaxParts, PartsFor(count_ / RowGroups::kMinIdsPerPart))),
        memory_(2 * Scratch::Size<Row>(count_) + 3 * Scratch::Size<uint32_t>(count_)),
        given_(memory_.Take<Row>(count_)),
        rows_(memory_.Take<Row>(count_)),
        positions_(memory_.Take<uint32_t>(count_)),
        groups_(memory_.Take<uint32_t>(count_)),
        sizes_(memory_.Take<uint32_t>(count_)),
        buckets_(parts_ == 1 ? 1 : kMaxBuckets),
        counts_(parts_ * buckets_),
        part_of_(buckets_),
        next_(parts_ * parts_),
        begin_(parts_ + 1),
        first_group_(parts_ + 1),
        first_outside_(parts_, count_) {}

  std::optional<size_t> Collect() {
    InParallel<&Grouping::Count>();
    Divide();
    InParallel<&Grouping::Deal>();
    InParallel<&Grouping::Group>();
    for (size_t part = 0; part < parts_; ++part) first_group_[part + 1] += first_group_[part];
    const size_t outside = *std::min_element(first_outside_.begin(), first_outside_.end());
    return outside < count_ ? std::optional<size_t>(outside) : std::nullopt;
  }

  size_t groups() const { return first_group_[parts_]; }
  size_t positions() const { return begin_[parts_]; }

  void Write(int64_t* rows, uint32_t* offsets, uint32_t* positions) {
    to_rows_ = rows;
    to_offsets_ = offsets;
    to_positions_ = positions;
    offsets[groups()] = static_cast<uint32_t>(this->positions());
    InParallel<&Grouping::Place>();
  }

 private:
  // Calls a member for each number of a part, or of a chunk of the ids: there are as many.
  template <void (Grouping::*kMember)(size_t)>
  void InParallel() {
    ParallelFor(
        {parts_, 1, 0, 1},
        [](const void* self, size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) {
            (static_cast<Grouping*>(const_cast<void*>(self))->*kMember)(i);
          }
        },
        this);
  }

  size_t ChunkBegin(size_t chunk) const { return count_ / parts_ * chunk; }
  size_t ChunkEnd(size_t chunk) const {
    return chunk + 1 < parts_ ? ChunkBegin(chunk + 1) : count_;
  }

  static constexpr Row kOutside = ~Row{0};  // no row: there are fewer

  size_t BucketOf(Row row) const { return (row * kMultiplier >> 32) & (buckets_ - 1); }

  // Reads each id, once: whatever another thread makes of them later does not matter. Counts in
  // local variables, so that threads share no cache lines.
  void Count(size_t chunk) {
    std::array<size_t, kMaxBuckets> counts;
    std::fill_n(counts.begin(), buckets_, 0);
    size_t outside = count_;
    for (size_t i = ChunkBegin(chunk), end = ChunkEnd(chunk); i < end; ++i) {
      const auto id = static_cast<uint64_t>(ReadOnce(&ids_[i]));
      given_[i] = id < num_rows_ ? static_cast<Row>(id) : kOutside;
      if (given_[i] != kOutside) {
        ++counts[BucketOf(given_[i])];
      } else {
        outside = std::min(outside, i);
      }
    }
    first_outside_[chunk] = outside;
    std::copy_n(counts.begin(), buckets_, &counts_[chunk * buckets_]);
  }

  // Gives each part successive buckets, and each chunk its place in each part.
  void Divide() {
    const size_t total = std::accumulate(counts_.begin(), counts_.end(), size_t{0});
    size_t before = 0;
    for (size_t bucket = 0; bucket < buckets_; ++bucket) {
      size_t size = 0;
      for (size_t chunk = 0; chunk < parts_; ++chunk) size += counts_[chunk * buckets_ + bucket];
      const size_t part = size == 0 ? 0 : (before + size / 2) * parts_ / total;
      part_of_[bucket] = static_cast<uint8_t>(part);
      for (size_t chunk = 0; chunk < parts_; ++chunk) {
        next_[chunk * parts_ + part] += counts_[chunk * buckets_ + bucket];
      }
      before += size;
    }
    size_t at = 0;
    for (size_t part = 0; part < parts_; ++part) {
      begin_[part] = at;
      for (size_t chunk = 0; chunk < parts_; ++chunk) {
        at += std::exchange(next_[chunk * parts_ + part], at);
      }
    }
    begin_[parts_] = at;
  }

  void Deal(size_t chunk) {
    std::array<size_t, kMaxParts> next;
    std::copy_n(&next_[chunk * parts_], parts_, next.begin());
    for (size_t i = ChunkBegin(chunk), end = ChunkEnd(chunk); i < end; ++i) {
      if (given_[i] == kOutside) continue;
      const size_t at = next[part_of_[BucketOf(given_[i])]]++;
      rows_[at] = given_[i];
      positions_[at] = static_cast<uint32_t>(i);
    }
  }

  // Leaves the distinct rows at the front of the part.
  void Group(size_t part) {
    const size_t begin = begin_[part], end = begin_[part + 1];
    Row* const distinct = rows_ + begin;
    uint32_t* const sizes = sizes_ + begin;
    uint32_t known = 0;
    RowTable<Row> table(end - begin);
    for (size_t i = begin; i < end; ++i) {
      if (i + kIdsAhead < end) table.Prefetch(rows_[i + kIdsAhead]);
      const Row row = rows_[i];
      const uint32_t group = table.Find(row, known);
      if (group == known) {
        distinct[known] = row;
        sizes[known++] = 0;
      }
      ++sizes[group];
      groups_[i] = group;
    }
    first_group_[part + 1] = known;
  }

  void Place(size_t part) {
    const size_t begin = begin_[part], groups = first_group_[part + 1] - first_group_[part];
    std::copy_n(rows_ + begin, groups, to_rows_ + first_group_[part]);
    uint32_t* const offsets = to_offsets_ + first_group_[part];
    uint32_t* const next = sizes_ + begin;
    auto at = static_cast<uint32_t>(begin);
    for (size_t g = 0; g < groups; ++g) {
      offsets[g] = at;
      at += std::exchange(next[g], at);
    }
    for (size_t i = begin; i < begin_[part + 1]; ++i) {
      to_positions_[next[groups_[i]]++] = positions_[i];
    }
  }

  const Id* ids_;
  size_t count_;
  uint64_t num_rows_;
  size_t parts_;
  Scratch memory_;
  Row* given_;  // the ids as rows
  Row* rows_;   // by part, with their positions and group numbers in the part
  uint32_t *positions_, *groups_;
  uint32_t* sizes_;  // by part and group
  size_t buckets_;
  std::vector<size_t> counts_;    // of ids, by chunk and bucket
  std::vector<uint8_t> part_of_;  // of each bucket
  std::vector<size_t> next_;      // where a chunk puts its next id of a part
  std::vector<size_t> begin_;     // of each part
  std::vector<size_t> first_group_;
  std::vector<size_t> first_outside_;  // of each chunk
  int64_t* to_rows_ = nullptr;
  uint32_t *to_offsets_ = nullptr, *to_positions_ = nullptr;
};

}  // namespace

namespace {

// The search of one thread, for ids of one type.
template <class Id>
struct OutsideSearch {
  using Bits = std::make_unsigned_t<Id>;

  OutsideSearch(const RowIds& all, int64_t num_rows)
      : ids(static_cast<const Id*>(all.data)),
        last(static_cast<Id>(std::min<int64_t>(num_rows - 1, std::numeric_limits<Id>::max()))),
        first(all.count) {}

  const Id* ids;
  Id last;                            // row of the table that an id can name
  mutable std::atomic<size_t> first;  // as far as anyone knows

  // Its highest bit is set if an id is outside. (Compilers make vectors of it in loops of fixed
  // length.)
  Bits Signs(Id id) const {
    return static_cast<Bits>(id) | (static_cast<Bits>(last) - static_cast<Bits>(id));
  }
  bool IsOutside(Bits signs) const { return static_cast<Id>(signs) < 0; }

  static void Range(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const OutsideSearch*>(context);
    constexpr size_t kChecked = 256;  // at a time, without a branch for each
    for (; begin + kChecked <= end; begin += kChecked) {
      Bits any = 0;
      for (size_t i = 0; i < kChecked; ++i) any |= self.Signs(self.ids[begin + i]);
      if (self.IsOutside(any)) break;
    }
    self.Note(begin, end);
  }

  // Notes the first of these that is outside, if any is.
  void Note(size_t begin, size_t end) const {
    const Id* const found =
        std::find_if(ids + begin, ids + end, [&](Id id) { return IsOutside(Signs(id)); });
    const auto at = static_cast<size_t>(found - ids);
    size_t known = first.load();
    while (at < known && at < end && !first.compare_exchange_weak(known, at)) {
    }
  }
};

}  // namespace

std::optional<size_t> FirstOutside(const RowIds& ids, int64_t num_rows) {
  constexpr size_t kMinIdsPerThread = 32768;
  const auto find = [&](auto search) -> std::optional<size_t> {
    ParallelFor({ids.count, kMinIdsPerThread, 0, 1}, &decltype(search)::Range, &search);
    const size_t first = search.first.load();
    return first < ids.count ? std::optional<size_t>(first) : std::nullopt;
  };
  return ids.is_int64 ? find(OutsideSearch<int64_t>(ids, num_rows))
                      : find(OutsideSearch<int32_t>(ids, num_rows));
}

RowGroups::RowGroups(const RowIds& ids, int64_t num_rows)
    : num_rows_(num_rows), id_count_(ids.count) {
  const auto group = [&](auto grouping) {
    first_outside_ = grouping.Collect();
    const size_t groups = grouping.groups(), positions = grouping.positions();
    memory_ = Scratch(Scratch::Size<int64_t>(groups) + Scratch::Size<uint32_t>(groups + 1) +
                      Scratch::Size<uint32_t>(positions));
    auto* const rows = memory_.Take<int64_t>(groups);
    auto* const offsets = memory_.Take<uint32_t>(groups + 1);
    auto* const placed = memory_.Take<uint32_t>(positions);
    grouping.Write(rows, offsets, placed);
    view_ = {groups, rows, offsets, placed};
  };
  const bool is_narrow = num_rows < int64_t{1} << 32;
  if (ids.is_int64) {
    if (is_narrow) {
      group(Grouping<int64_t, uint32_t>(ids, num_rows));
    } else {
      group(Grouping<int64_t, uint64_t>(ids, num_rows));
    }
  } else {
    group(Grouping<int32_t, uint32_t>(ids, std::min(num_rows, int64_t{1} << 31)));
  }
}

std::optional<RowGroups::Repeat> RowGroups::first_repeat() const {
  std::optional<Repeat> first;
  for (size_t g = 0; g < view_.groups; ++g) {
    const size_t begin = view_.offsets[g];
    if (view_.offsets[g + 1] - begin < 2) continue;
    const Repeat repeat{view_.positions[begin + 1], view_.positions[begin]};
    if (!first || repeat.position < first->position) first = repeat;
  }
  return first;
}

ScratchArray<int64_t> RowGroups::Ids() const {
  ScratchArray<int64_t> ids(id_count_);
  if (skipped() > 0) std::fill_n(ids.data(), id_count_, -1);
  for (size_t g = 0; g < view_.groups; ++g) {
    for (size_t i = view_.offsets[g]; i < view_.offsets[g + 1]; ++i) {
      ids[view_.positions[i]] = view_.rows[g];
    }
  }
  return ids;
}

std::vector<bool> RowGroups::LeftOut() const {
  if (skipped() == 0) return {};
  std::vector<bool> left_out(id_count_, true);
  for (size_t i = 0; i < view_.offsets[view_.groups]; ++i) left_out[view_.positions[i]] = false;
  return left_out;
}

ScratchArray<uint32_t> RowGroups::InOrderOfAppearance() const {
  constexpr uint32_t kNone = ~uint32_t{0};
  ScratchArray<uint32_t> first_at(id_count_);  // by position, the group first met there
  std::fill_n(first_at.data(), id_count_, kNone);
  for (size_t g = 0; g < view_.groups; ++g) {
    first_at[view_.positions[view_.offsets[g]]] = static_cast<uint32_t>(g);
  }
  ScratchArray<uint32_t> order(view_.groups);
  size_t known = 0;
  for (size_t i = 0; known < view_.groups; ++i) {
    order[known] = first_at[i];
    known += first_at[i] != kNone;
  }
  return order;
}

}  // namespace slotwise
