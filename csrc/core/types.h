// SPDX-License-Identifier: Apache-2.0
// Plain data that every layer shares: no vectors, no Python.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slotwise {

enum class DType : uint8_t { kF16, kBF16, kF32, kF64 };

constexpr size_t SizeOf(DType dtype) {
  return dtype == DType::kF64 ? 8 : dtype == DType::kF32 ? 4 : 2;
}

// Bytes of a number in the type that is computed in: 16-bit types are computed in float32.
constexpr size_t ComputedSizeOf(DType dtype) { return dtype == DType::kF64 ? 8 : 4; }

constexpr size_t kMaxSlots = 3;
constexpr size_t kMaxHypers = 8;
constexpr size_t kMaxAttrs = 1;
constexpr int kMaxRank = 64;  // NumPy's own limit

// A read-only array that may be strided. Strides are in bytes, may be zero or negative.
struct StridedArray {
  const void* data;
  bool contiguous;  // C-contiguous: the elements lie at `data`, whatever the strides
  int rank;
  const int64_t* shape;
  const int64_t* strides;
};

// What is done to each element of a gradient before the rule sees it, in this order, in the type
// that is computed in.
struct GradTransform {
  bool clamps = false;
  bool normalizes = false;
  bool scales = false;
  double limit = 0;      // g = max(min(g, limit), -limit)
  double numerator = 1;  // g = g * numerator / denominator
  double denominator = 1;
  double scale = 1;                // g = g * scale
  double decay = 0;                // g = g + w * decay
  const void* decay_of = nullptr;  // the variable that w is of; null: no decay

  bool any() const { return clamps || normalizes || scales || decay_of != nullptr; }
};

// What is done to a variable around its update, in the type that is computed in.
struct DecayAndAverage {
  bool decays = false;      // before: w = w - (w * decay) * rate
  bool overwrites = false;  // at last: w = average
  double decay = 0;
  double rate = 0;
  double kept = 1;  // after: average = kept * average + added * w
  double added = 0;
  void* average = nullptr;  // memory as the variable's; null: none

  bool any() const { return decays || average != nullptr; }
};

// `count` elements of var, of every slot and of grad.
struct DenseTensor {
  size_t first;  // elements of the tensors before this one
  size_t count;
  void* var;
  void* slots[kMaxSlots];
  StridedArray grad;
  const GradTransform* transform;        // null: none
  const DecayAndAverage* decay_average;  // null: nothing
};

// One dense update of a list of tensors, all of one dtype, that share no memory.
struct DenseCall {
  DType dtype;
  size_t tensor_count;  // at least 1
  const DenseTensor* tensors;
  const double* hypers;  // in the order of RuleSpec::hypers
  const bool* attrs;     // in the order of RuleSpec::attrs
};

// What equal row ids in one sparse call mean.
enum class Duplicates : uint8_t {
  kSequential,  // each occurrence is applied, in order
  kSum,         // their gradients are summed in order, then applied once
  kError,       // not allowed
  kExact,       // their gradients are summed as if without rounding, then applied once
};

// The occurrences of every row id, each row once: row `rows[g]` occurs at
// `positions[offsets[g]] < ... < positions[offsets[g + 1] - 1]`.
struct RowGroupsView {
  size_t groups;
  const int64_t* rows;
  const uint32_t* offsets;
  const uint32_t* positions;
};

// What the sum of a bag's rows is divided by.
enum class Pooling : uint8_t {
  kSum,    // nothing
  kMean,   // the sum of the weights
  kSqrtN,  // the root of the sum of their squares
};

// The gradients of rows that were pooled by bags, which have a gradient each: that of id i is
// weights[i] / divisors[bags[i]] times its bag's, in the type that is computed in.
struct PooledRows {
  const uint32_t* bags;  // of each id
  const void* weights;   // null: all 1
  const void* divisors;  // null: all 1
};

// The gradients of rows, one for each id.
struct RowGradients {
  const void* data;          // a row for each id, or for each bag; contiguous in themselves
  int64_t stride;            // elements from one row to the next
  const PooledRows* pooled;  // null: a row for each id
};

class DeferredTable;  // drivers/deferred.h

// Rows of `width` elements to update: row `rows[g]` of var and of every slot, by the gradients that
// it has where it occurs.
struct SparseTable {
  size_t width;
  void* var;
  void* slots[kMaxSlots];
  RowGradients gradients;
  RowGroupsView groups;
  const DecayAndAverage* decay_average;  // of these rows only; null: nothing
  DeferredTable* deferred;               // null: rows stand at now
};

// One sparse update of a list of tables, all of one dtype, that share no memory.
struct SparseCall {
  DType dtype;
  size_t table_count;
  const SparseTable* tables;
  Duplicates duplicates;
  const double* hypers;
  const bool* attrs;
};

// What is updated, by a zero gradient, in the rows that a sparse gradient leaves out.
enum class Untouched : uint8_t {
  kKeep,   // nothing
  kSlots,  // the slots; for rules whose slots do not depend on var
  kAll,
};

// The update of every row that a sparse update leaves out: the rest of a sweep.
class RowSet;
struct SweepCall {
  DType dtype;
  size_t rows;
  size_t width;
  void* var;
  void* slots[kMaxSlots];
  const RowSet* except;  // rows that are left alone
  Untouched untouched;   // what the rule updates in the others
  const double* hypers;
  const bool* attrs;
  const DecayAndAverage* decay_average;  // of the same rows; null: nothing
};

}  // namespace slotwise
