// SPDX-License-Identifier: Apache-2.0
// Operations on rows of a table that are no update rules: gather, pooling, coalescing, scattering.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/row_groups.h"
#include "core/types.h"

namespace slotwise {

// out[i] = table[ids[i]], rows of `row_bytes`. Returns false if ids were changed meanwhile to some
// that are outside of the table.
struct GatherCall {
  const void* table;
  size_t rows;
  size_t row_bytes;
  RowIds ids;
  void* out;
};
bool Gather(const GatherCall& call);

// out[b] = pool of weights[i] * table[ids[i]] over i in [offsets[b], offsets[b + 1]), in order. An
// id that is changed meanwhile to one that is outside of the table counts as row 0, of which there
// is one.
struct PooledTable {
  DType dtype;
  size_t width;
  const void* table;
  size_t rows;
  RowIds ids;
  const void* weights;     // null, or of the type that dtype is computed in
  const int64_t* offsets;  // bags + 1
  size_t bags;
  bool has_one_each;  // offsets count up: bag b is id b
  void* out;
  int64_t out_stride;  // elements from one row of out to the next
  DType out_dtype;     // the table's, or the type that one of the tables is computed in
};
struct PooledCall {
  size_t table_count;
  const PooledTable* tables;
  Pooling mode;
};
void GatherPooled(const PooledCall& call);

// out[i] = the dot product of table[ids[i]] and the gradient of its bag, both in the type that
// dtype is computed in; 0 if the id is negative.
struct WeightGradientCall {
  DType dtype;
  size_t width;
  const void* table;
  size_t rows;
  RowIds ids;
  const void* bag_grads;
  int64_t bag_stride;      // elements
  const int64_t* offsets;  // bags + 1
  size_t bags;
  void* out;
};
void PooledWeightGradient(const WeightGradientCall& call);

// out[places[g]] = sum of the gradients of group g.
struct CoalesceCall {
  DType dtype;
  size_t width;
  RowGradients gradients;
  Duplicates duplicates;
  RowGroupsView groups;
  const uint32_t* places;
  void* out;
};
void Coalesce(const CoalesceCall& call);

enum class Scatter : uint8_t { kAdd, kSub, kMul, kDiv, kMin, kMax, kUpdate };

// Rows of a floating-point type: each op is a rule, without slots.
void ScatterFloats(Scatter op, const SparseCall& call);

enum class PlainType : uint8_t { kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kC64, kC128 };

struct ScatterCall {
  size_t width;
  void* var;
  const void* updates;
  int64_t stride;  // elements from one row of updates to the next
  RowGroupsView groups;
};
// Rows of another type; and kUpdate, for rows of any type.
void ScatterPlain(Scatter op, PlainType type, const ScatterCall& call);
void ScatterCopy(size_t row_bytes, size_t stride_bytes, const ScatterCall& call);

}  // namespace slotwise
