// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <type_traits>

#include "core/bags.h"
#include "core/group_tasks.h"
#include "core/scratch.h"
#include "core/targets.h"
#include "tables/tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/pooled.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/row_sums-inl.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// The rows of a table that ids name; up to id `end` they are fetched.
template <class Codec, class Id, bool kHasWeights>
class NamedRows {
 public:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  static constexpr bool kWeighted = kHasWeights;

  template <class Table>
  NamedRows(const Table& table, size_t end)
      : ids_(static_cast<const Id*>(table.ids.data)),
        end_(end),
        rows_(static_cast<const Stored*>(table.table)),
        row_count_(table.rows),
        width_(table.width) {
    if constexpr (kHasWeights) weights_ = static_cast<const Compute*>(table.weights);
  }

  HWY_INLINE const Stored* Row(size_t k) const {
    const auto row = static_cast<size_t>(ReadOnce(&ids_[k]));
    return rows_ + (row < row_count_ ? row : 0) * width_;
  }
  HWY_INLINE Compute Weight(size_t k) const { return weights_[k]; }
  HWY_INLINE void Fetch(size_t k) const {
    if (k + kRowsAhead < end_) PrefetchRow(Row(k + kRowsAhead), width_);
  }

 private:
  const Id* ids_;
  size_t end_;
  const Stored* rows_;
  size_t row_count_, width_;
  const Compute* weights_ = nullptr;
};

// Pools bags of one table.
template <class Codec>
class Pool {
 public:
  Pool(Pooling mode, const PooledTable& table) : mode_(mode), table_(table) {}

  void Bags(size_t begin, size_t end) const {
    const auto run = [&](auto id) HWY_ATTR {
      using Id = decltype(id);
      if (table_.weights == nullptr) {
        BagsOf<NamedRows<Codec, Id, false>>(begin, end);
      } else {
        BagsOf<NamedRows<Codec, Id, true>>(begin, end);
      }
    };
    if (table_.ids.is_int64) {
      run(int64_t{});
    } else {
      run(int32_t{});
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  // Ends what RowSum begins. A sum that begins with 0 is never -0.
  struct ToTable {
    Compute divisor;
    Stored* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i, hn::VFromD<D> sum) const {
      auto pooled = hn::Add(sum, hn::Zero(d));
      if (divisor != 1) pooled = pooled / divisor;
      Codec::Store(d, pooled, out + i);
    }
  };
  // The same, for an output of another type than the table.
  template <class Out>
  struct ToOther {
    Compute divisor;
    Out* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i, hn::VFromD<D> sum) const {
      Compute lanes[kLanes<D>];
      hn::StoreU(hn::Add(sum, hn::Zero(d)) / divisor, d, lanes);
      for (size_t k = 0; k < kLanes<D>; ++k) out[i + k] = static_cast<Out>(lanes[k]);
    }
  };

  // The body of a walk along the only row of a bag.
  template <class Sink>
  struct OneRow {
    const Stored* row;
    const Sink& sink;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      sink(d, i, Codec::Load(d, row + i));
    }
  };

  template <class Rows>
  void BagsOf(size_t begin, size_t end) const {
    if (table_.out_dtype == table_.dtype) {
      EachBag<Rows, ToTable, Stored>(begin, end);
    } else if (table_.out_dtype == DType::kF32) {
      EachBag<Rows, ToOther<float>, float>(begin, end);
    } else {
      EachBag<Rows, ToOther<double>, double>(begin, end);
    }
  }

  template <class Rows, class Sink, class Out>
  void EachBag(size_t begin, size_t end) const {
    const Rows rows(table_, static_cast<size_t>(table_.offsets[end]));
    const auto weight_of = [&](size_t k) -> Compute { return WeightOf<Codec>(rows, k); };
    Out* out = static_cast<Out*>(table_.out) + static_cast<int64_t>(begin) * table_.out_stride;
    for (size_t bag = begin; bag < end; ++bag, out += table_.out_stride) {
      const auto first = static_cast<size_t>(table_.offsets[bag]);
      const auto last = static_cast<size_t>(table_.offsets[bag + 1]);
      if (first == last) {
        std::fill_n(out, table_.width, Out{0});
        continue;
      }
      if (!Rows::kWeighted && last - first == 1) {  // its mean is the row
        rows.Fetch(first);
        const Sink sink{1, out};
        WalkAll<Compute>(OneRow<Sink>{rows.Row(first), sink}, table_.width);
        continue;
      }
      const Sink sink{PoolDivisor<Compute>(mode_, first, last, weight_of), out};
      WalkByMany<8, Compute>(RowSum<Codec, Rows, Sink>{rows, first, last, sink}, table_.width);
    }
  }

  const Pooling mode_;
  const PooledTable& table_;
};

// All tables of one call.
struct PooledTables {
  const PooledCall& call;

  size_t tables() const { return call.table_count; }
  BagCosts Costs(size_t t) const {
    const PooledTable& table = call.tables[t];
    return {table.offsets, table.bags, table.width * SizeOf(table.dtype)};
  }
  void operator()(size_t t, size_t begin, size_t end) const {
    const PooledTable& table = call.tables[t];
    if (table.width == 0) return;
    WithCodec(table.dtype, [&](auto codec) HWY_ATTR {
      Pool<decltype(codec)>(call.mode, table).Bags(begin, end);
    });
  }

  static void Apply(const PooledCall& call) { RunGroups(PooledTables{call}); }
};

// The gradients of weights: dot products.
template <class Codec>
struct WeightGradients {
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  const WeightGradientCall& call;

  static size_t tables() { return 1; }
  BagCosts Costs(size_t) const { return {call.offsets, call.bags, call.width * sizeof(Stored)}; }

  struct Product {
    const Stored *row, *grad;

    template <class D>
    HWY_INLINE hn::VFromD<D> operator()(D d, size_t i) const {
      return hn::Mul(Codec::Load(d, row + i), Codec::Load(d, grad + i));
    }
  };

  void operator()(size_t, size_t begin, size_t end) const {
    if (call.ids.is_int64) {
      BagsOf<NamedRows<Codec, int64_t, false>>(begin, end);
    } else {
      BagsOf<NamedRows<Codec, int32_t, false>>(begin, end);
    }
  }

  template <class Rows>
  void BagsOf(size_t begin, size_t end) const {
    const Rows rows(call, static_cast<size_t>(call.offsets[end]));
    const auto* const grads = static_cast<const Stored*>(call.bag_grads);
    auto* const out = static_cast<Compute*>(call.out);
    for (size_t bag = begin; bag < end; ++bag) {
      const Stored* const grad = grads + static_cast<int64_t>(bag) * call.bag_stride;
      const auto last = static_cast<size_t>(call.offsets[bag + 1]);
      for (auto k = static_cast<size_t>(call.offsets[bag]); k < last; ++k) {
        rows.Fetch(k);
        out[k] = call.ids[k] < 0 ? 0 : SumOf<Compute>(Product{rows.Row(k), grad}, call.width);
      }
    }
  }
};

struct WeightGradient {
  static void Apply(const WeightGradientCall& call) {
    WithCodec(call.dtype,
              [&](auto codec) HWY_ATTR { RunGroups(WeightGradients<decltype(codec)>{call}); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void GatherPooled(const PooledCall& call) {
  static constexpr void (*kTable[])(const PooledCall&) = SLOTWISE_TABLE(PooledTables::Apply);
  kTable[TargetIndex()](call);
}

void PooledWeightGradient(const WeightGradientCall& call) {
  static constexpr void (*kTable[])(const WeightGradientCall&) =
      SLOTWISE_TABLE(WeightGradient::Apply);
  kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
