// SPDX-License-Identifier: Apache-2.0
// The scatter ops on integers and complex numbers, and copying of any type.

#include <complex>
#include <cstring>
#include <type_traits>

#include "core/group_tasks.h"
#include "tables/tables.h"

namespace slotwise {
namespace {

// A row's element after `op`. Integers wrap around, as in TensorFlow.
template <class T>
T Combine(Scatter op, T row, T update) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    using Wide = std::conditional_t<(sizeof(T) < sizeof(unsigned)), unsigned, U>;
    const auto a = static_cast<Wide>(static_cast<U>(row));
    const auto b = static_cast<Wide>(static_cast<U>(update));
    switch (op) {
      case Scatter::kAdd:
        return static_cast<T>(static_cast<U>(a + b));
      case Scatter::kSub:
        return static_cast<T>(static_cast<U>(a - b));
      case Scatter::kMul:
        return static_cast<T>(static_cast<U>(a * b));
      case Scatter::kDiv:
        if (update == 0) return 0;  // none was when they were checked: another thread's
        // The smallest number over -1 overflows; it wraps, too.
        if (std::is_signed_v<T> && update == static_cast<T>(-1)) {
          return static_cast<T>(static_cast<U>(Wide{0} - a));
        }
        return static_cast<T>(row / update);
      case Scatter::kMin:
        return update < row ? update : row;
      case Scatter::kMax:
        return row < update ? update : row;
      case Scatter::kUpdate:
        return update;
    }
  } else {
    switch (op) {
      case Scatter::kAdd:
        return row + update;
      case Scatter::kSub:
        return row - update;
      case Scatter::kMul:
        return row * update;
      case Scatter::kDiv:
        return row / update;
      default:
        return update;
    }
  }
  return update;
}

template <class T>
struct PlainRows {
  Scatter op;
  const ScatterCall& call;

  static size_t tables() { return 1; }
  GroupCosts Costs(size_t) const { return {call.groups, 2, call.width * sizeof(T)}; }

  void operator()(size_t, size_t begin, size_t end) const {
    const RowGroupsView& groups = call.groups;
    for (size_t g = begin; g < end; ++g) {
      T* const row = static_cast<T*>(call.var) + static_cast<size_t>(groups.rows[g]) * call.width;
      for (size_t k = groups.offsets[g]; k < groups.offsets[g + 1]; ++k) {
        const T* const update = static_cast<const T*>(call.updates) +
                                static_cast<int64_t>(groups.positions[k]) * call.stride;
        for (size_t i = 0; i < call.width; ++i) row[i] = Combine(op, row[i], update[i]);
      }
    }
  }
};

template <class T>
void Run(Scatter op, const ScatterCall& call) {
  RunGroups(PlainRows<T>{op, call});
}

// Copies the last update of each row.
struct CopyRows {
  size_t row_bytes, stride_bytes;
  const ScatterCall& call;

  static size_t tables() { return 1; }
  GroupCosts Costs(size_t) const { return {call.groups, 2, row_bytes}; }

  void operator()(size_t, size_t begin, size_t end) const {
    const RowGroupsView& groups = call.groups;
    for (size_t g = begin; g < end; ++g) {
      const size_t last = groups.positions[groups.offsets[g + 1] - 1];
      std::memcpy(static_cast<char*>(call.var) + static_cast<size_t>(groups.rows[g]) * row_bytes,
                  static_cast<const char*>(call.updates) + last * stride_bytes, row_bytes);
    }
  }
};

}  // namespace

void ScatterPlain(Scatter op, PlainType type, const ScatterCall& call) {
  switch (type) {
    case PlainType::kI8:
      return Run<int8_t>(op, call);
    case PlainType::kI16:
      return Run<int16_t>(op, call);
    case PlainType::kI32:
      return Run<int32_t>(op, call);
    case PlainType::kI64:
      return Run<int64_t>(op, call);
    case PlainType::kU8:
      return Run<uint8_t>(op, call);
    case PlainType::kU16:
      return Run<uint16_t>(op, call);
    case PlainType::kU32:
      return Run<uint32_t>(op, call);
    case PlainType::kU64:
      return Run<uint64_t>(op, call);
    case PlainType::kC64:
      return Run<std::complex<float>>(op, call);
    case PlainType::kC128:
      return Run<std::complex<double>>(op, call);
  }
}

void ScatterCopy(size_t row_bytes, size_t stride_bytes, const ScatterCall& call) {
  RunGroups(CopyRows{row_bytes, stride_bytes, call});
}

}  // namespace slotwise
