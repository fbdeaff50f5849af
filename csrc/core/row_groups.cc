#include "core/row_groups.h"

#include <algorithm>

#include "core/threads.h"

namespace slotwise {
namespace {

constexpr size_t kMinIdsPerPart = 8192;  // measured: fewer are grouped sooner by one thread
constexpr size_t kLookahead = 8;         // ids whose table entries are prefetched

// Mixed twice: after one multiplication, ids of a regular kind could all meet in one place.
uint64_t Hash(int64_t row) {
  uint64_t x = static_cast<uint64_t>(row) * 0x9E3779B97F4A7C15u;
  x ^= x >> 32;
  return x * 0xD6E8FEB86659FD93u;
}

// Open addressing from row to group number, in the order of insertion.
class RowTable {
 public:
  RowTable() : entries_(size_t{1} << 10) {}

  void Prefetch(int64_t row) const { __builtin_prefetch(&entries_[Home(row)]); }

  // The group of `row`; appends to `rows` if it is new.
  uint32_t Find(int64_t row, std::vector<int64_t>& rows) {
    const size_t mask = entries_.size() - 1;
    for (size_t i = Home(row);; i = (i + 1) & mask) {
      Entry& entry = entries_[i];
      if (entry.next_group == 0) {
        rows.push_back(row);
        const auto group = static_cast<uint32_t>(rows.size() - 1);
        entry = {row, group + 1};
        if (rows.size() * 2 > entries_.size()) Grow();
        return group;
      }
      if (entry.row == row) return entry.next_group - 1;
    }
  }

 private:
  struct Entry {
    int64_t row;
    uint32_t next_group;  // group + 1; 0 marks an empty entry
  };

  size_t Home(int64_t row) const { return Hash(row) >> shift_; }

  void Grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    --shift_;
    const size_t mask = entries_.size() - 1;
    for (const Entry& entry : old) {
      if (entry.next_group == 0) continue;
      size_t i = Home(entry.row);
      while (entries_[i].next_group != 0) i = (i + 1) & mask;
      entries_[i] = entry;
    }
  }

  std::vector<Entry> entries_;
  int shift_ = 64 - 10;
};

// The groups of those ids whose hash falls into one part of its range.
struct Part {
  std::vector<int64_t> rows;
  std::vector<uint32_t> sizes;      // occurrences by group
  std::vector<uint32_t> positions;  // of all ids of this part, ascending
  std::vector<uint32_t> groups;     // of those ids
  size_t first_outside;
};

struct Grouping {
  const RowIds& ids;
  uint64_t num_rows;
  std::vector<Part> parts;
  std::vector<size_t> first_group, first_position;  // of each part, in the result
  int64_t* rows;
  uint32_t* offsets;
  uint32_t* positions;

  size_t PartOf(int64_t row) const { return ((Hash(row) & 0xFFFFFFFFu) * parts.size()) >> 32; }

  template <class Id>
  void Collect(size_t index) {
    Part part;  // a local one, so that threads do not share cache lines
    part.first_outside = ids.count;
    RowTable table;
    const Id* const id = static_cast<const Id*>(ids.data);
    const bool single = parts.size() == 1;
    part.positions.reserve(ids.count / parts.size() + 1);
    part.groups.reserve(ids.count / parts.size() + 1);
    for (size_t i = 0; i < ids.count; ++i) {
      const int64_t row = id[i];
      if (i + kLookahead < ids.count) table.Prefetch(id[i + kLookahead]);
      if (static_cast<uint64_t>(row) >= num_rows) {
        part.first_outside = std::min(part.first_outside, i);
        continue;
      }
      if (!single && PartOf(row) != index) continue;
      const uint32_t group = table.Find(row, part.rows);
      if (group == part.sizes.size()) part.sizes.push_back(0);
      ++part.sizes[group];
      part.positions.push_back(static_cast<uint32_t>(i));
      part.groups.push_back(group);
    }
    parts[index] = std::move(part);
  }

  static void CollectParts(const void* context, size_t begin, size_t end) {
    auto& self = *static_cast<Grouping*>(const_cast<void*>(context));
    for (size_t i = begin; i < end; ++i) {
      if (self.ids.is_int64) {
        self.Collect<int64_t>(i);
      } else {
        self.Collect<int32_t>(i);
      }
    }
  }

  // Writes the groups of each part to their places in the result.
  static void PlaceParts(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const Grouping*>(context);
    for (size_t p = begin; p < end; ++p) {
      const Part& part = self.parts[p];
      std::copy(part.rows.begin(), part.rows.end(), self.rows + self.first_group[p]);
      uint32_t* const offsets = self.offsets + self.first_group[p];
      std::vector<uint32_t> next(part.sizes.size());
      auto at = static_cast<uint32_t>(self.first_position[p]);
      for (size_t g = 0; g < part.sizes.size(); ++g) {
        offsets[g] = next[g] = at;
        at += part.sizes[g];
      }
      for (size_t i = 0; i < part.positions.size(); ++i) {
        self.positions[next[part.groups[i]]++] = part.positions[i];
      }
    }
  }
};

}  // namespace

RowGroups::RowGroups(const RowIds& ids, int64_t num_rows)
    : num_rows_(num_rows), id_count_(ids.count) {
  const size_t parts =
      std::clamp(ids.count / kMinIdsPerPart, size_t{1}, static_cast<size_t>(NumThreads()));
  Grouping grouping{ids, static_cast<uint64_t>(num_rows), {}, {}, {}, nullptr, nullptr, nullptr};
  grouping.parts.resize(parts);
  const Partition partition{parts, 1, 0, 1};
  ParallelFor(partition, &Grouping::CollectParts, &grouping);

  size_t groups = 0, positions = 0;
  for (const Part& part : grouping.parts) {
    grouping.first_group.push_back(groups);
    grouping.first_position.push_back(positions);
    groups += part.rows.size();
    positions += part.positions.size();
  }
  const size_t outside = grouping.parts[0].first_outside;  // each part has seen all ids
  if (outside < ids.count) first_outside_ = outside;
  rows_.resize(groups);
  offsets_.resize(groups + 1);
  positions_.resize(positions);
  offsets_[groups] = static_cast<uint32_t>(positions);
  grouping.rows = rows_.data();
  grouping.offsets = offsets_.data();
  grouping.positions = positions_.data();
  ParallelFor(partition, &Grouping::PlaceParts, &grouping);
}

std::optional<RowGroups::Repeat> RowGroups::first_repeat() const {
  std::optional<Repeat> first;
  for (size_t g = 0; g < rows_.size(); ++g) {
    if (offsets_[g + 1] - offsets_[g] < 2) continue;
    const Repeat repeat{positions_[offsets_[g] + 1], positions_[offsets_[g]]};
    if (!first || repeat.position < first->position) first = repeat;
  }
  return first;
}

std::vector<uint32_t> RowGroups::InOrderOfAppearance() const {
  constexpr uint32_t kNone = ~uint32_t{0};
  std::vector<uint32_t> order(id_count_, kNone);  // by first position
  for (size_t g = 0; g < rows_.size(); ++g) {
    order[positions_[offsets_[g]]] = static_cast<uint32_t>(g);
  }
  order.erase(std::remove(order.begin(), order.end(), kNone), order.end());
  return order;
}

}  // namespace slotwise
