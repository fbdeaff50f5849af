// SPDX-License-Identifier: Apache-2.0
// Row ids as an argument: an array, or a RowPlan made of one.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "core/row_groups.h"

namespace slotwise {

enum class Bounds { kRaise, kSkip };

Bounds ParseBounds(const char* op, pybind11::handle object);
Duplicates ParseDuplicates(const char* op, pybind11::handle object);

// The grouped ids of one call. Raises if an id is out of range and `bounds` says so, or if
// `indices` is a plan for another number of rows.
class RowsArgument {
 public:
  RowsArgument(const char* op, const char* name, pybind11::handle object, int64_t num_rows,
               Bounds bounds);

  // Ids that are not grouped yet: `GroupAll` does that, for several tables at a time. Raises if any
  // is out of range.
  RowsArgument(const char* op, const char* name, pybind11::handle object, int64_t num_rows);
  static void GroupAll(const std::vector<RowsArgument*>& all);

  const RowGroups& groups() const { return *groups_; }
  size_t count() const { return ids_ ? ids_->count() : groups_->id_count(); }

  // The groups, which were made of an array; they cannot be used here any more.
  RowGroups ReleaseGroups() { return std::move(*own_); }

  // The ids as an array; none if a plan was given.
  const std::optional<IntegerArray>& ids() const { return ids_; }

  // Raises if `rows` does not have the shape of as many rows of `table` as there are ids.
  void RequireRowForEach(const NamedArray& rows, const NamedArray& table) const;
  void RequireRankOne() const;
  void RequireNoneSkipped() const;  // a plan may have left ids out by itself
  void RequireDistinct() const;

 private:
  void Group();
  void RequireInside() const;

  const char* op_;
  const char* name_;
  int64_t num_rows_;
  std::optional<IntegerArray> ids_;
  std::optional<RowGroups> own_;
  const RowGroups* groups_ = nullptr;
};

// An int64 array of the rows of `groups`, which come in this order.
pybind11::object UniqueRows(const RowGroups& groups, const ScratchArray<uint32_t>& order);

}  // namespace slotwise
