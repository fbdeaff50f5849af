// SPDX-License-Identifier: Apache-2.0
#include "passes/skip.h"

#include <limits>

#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/skip.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct LesseningOf {
  LesseningOf() = default;
  // `sums`: whether infinity becomes NaN (see Movement); else it stays.
  explicit LesseningOf(const Lessening& by, bool sums = true)
      : factor(static_cast<T>(by.factor)), lost(static_cast<T>(by.lost)), is_sum(sums) {}

  template <class V>
  HWY_INLINE V operator()(V x) const {
    const V lessened = x * factor - x * lost;
    return is_sum ? lessened : IfThenElse(hn::IsNaN(lessened), x * (factor - lost), lessened);
  }

  T factor, lost;
  bool is_sum;
};

// What a row has missed, in the type that is computed in; and the body of a walk along it.
template <class Codec>
struct SkipBody {
  using Stored = typename Codec::Stored;
  using T = typename Codec::Compute;

  SkipBody(const Skipping& skipping, int32_t step, const SkippedRow& from)
      : how(skipping), row(from), s(step), count(skipping.clock.now() - step) {
    Missed missed;
    how.clock.For(step, &missed);
    for (size_t i = 0; i < how.slots; ++i) {
      slots[i] = LesseningOf<T>(missed.slots[i], how.movement.sums[i]);
    }
    var = LesseningOf<T>(missed.var, missed.var.factor != 1 || missed.var.lost != 0);
    average = LesseningOf<T>(missed.average);
    rest = static_cast<T>(missed.rest);
    e0 = static_cast<T>(missed.e0);
    if (how.movement.base == Base::kOverLargest) {
      const double kept = how.clock.first().kept[how.movement.squares];
      lost_of_squares = static_cast<T>(1 - kept);
    }
    terms = how.clock.is_summed() ? 1 : how.clock.terms();
    if (how.clock.is_summed()) {
      how.clock.Lasting(step, how.clock.now(), missed.of_var.data(), missed.of_average.data());
    }
    if (how.movement.base == Base::kSign) {
      lasting = static_cast<T>(how.clock.LastingSize(count) * 1.001);
    }
    for (size_t i = 0; i < terms; ++i) of_var[i] = static_cast<T>(missed.of_var[i]);
    if (row.average == nullptr) return;
    for (size_t i = 0; i < terms; ++i) of_average[i] = static_cast<T>(missed.of_average[i]);
  }

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    using V = hn::VFromD<D>;
    const Movement& by = how.movement;
    V by_slot = Fill<V>(0);  // what var and average lose
    V by_slot_average = by_slot;
    if (by.base != Base::kNone) {
      const V slot = LoadSlot(d, by.slot, i);
      V base = slot, z = by_slot, spoilt = by_slot;  // NaN where a slot becomes it
      if (by.base == Base::kSign) {
        base = Sign(slot);
      } else if (by.base != Base::kSlot) {
        V root = LoadSlot(d, by.other, i);
        if (by.base == Base::kOverLargest) root = Settled(d, root, i);
        if (by.base != Base::kOver) root = Sqrt(root);
        const V denominator = root + e0;
        if (by.sums[by.other]) spoilt = denominator - denominator;
        const bool has_z = e0 >= std::numeric_limits<T>::min();
        if (has_z && by.base != Base::kOver) {
          const V inverse = 1 / denominator;
          base = slot * inverse;
          z = e0 * inverse;
        } else {  // beside no root, 1 / denominator may be flushed to 0
          base = Quotient(slot, denominator);
          if (has_z) z = Fill<V>(e0) / denominator;
        }
      }
      V of_row = Polynomial(of_var, z), of_row_average = by_slot;
      if (row.average != nullptr) of_row_average = Polynomial(of_average, z);
      if (by.base == Base::kSign) Shorten(d, slot, &of_row, &of_row_average);
      if (by.sums[by.slot]) spoilt = spoilt + (slot - slot);
      by_slot = base * of_row + spoilt;
      by_slot_average = base * of_row_average + spoilt;
    }
    const V w = Codec::Load(d, static_cast<const Stored*>(row.var) + i);
    if (row.to_average != nullptr) {
      const V mean = Codec::Load(d, static_cast<const Stored*>(row.average) + i);
      const V moved = (mean * average.factor + (w - mean) * average.lost) + w * rest;
      Codec::Store(d, moved - by_slot_average, static_cast<Stored*>(row.to_average) + i);
    }
    for (size_t k = 0; k < how.slots; ++k) {
      if (row.to_slots[k] == nullptr) continue;
      V slot = LoadSlot(d, k, i);
      if (by.base == Base::kOverLargest && k == by.other) slot = Settled(d, slot, i);
      Codec::Store(d, slots[k](slot), static_cast<Stored*>(row.to_slots[k]) + i);
    }
    if (row.to_var != nullptr) {
      Codec::Store(d, var(w) - by_slot, static_cast<Stored*>(row.to_var) + i);
    }
  }

  template <class D>
  HWY_INLINE hn::VFromD<D> LoadSlot(D d, size_t k, size_t i) const {
    return Codec::Load(d, static_cast<const Stored*>(row.slots[k]) + i);
  }

  // The largest value, as the first of the missed steps makes it: it was set from outside, if it is
  // below what it is of.
  template <class D, class V>
  HWY_INLINE V Settled(D d, V largest, size_t i) const {
    const V squares = LoadSlot(d, how.movement.squares, i);
    return FirstMax(largest, squares - squares * lost_of_squares);
  }

  template <class V>
  HWY_INLINE V Polynomial(const T* coefficients, V z) const {
    V value = Fill<V>(coefficients[terms - 1]);
    const V y = z - T(0.5);
    for (size_t n = terms - 1; n-- > 0;) value = value * y + coefficients[n];
    return value;
  }

  // Of a sign: some elements do not move in all of the steps, since their slot was flushed to 0.
  template <class D, class V>
  void Shorten(D d, V slot, V* of_row, V* of_row_average) const {
    const V size = Abs(slot);
    if (hn::AllTrue(d, Or(size == 0, hn::Ge(size, Fill<V>(lasting))))) return;
    constexpr size_t kMost = HWY_MAX_BYTES / sizeof(T);
    alignas(HWY_MAX_BYTES) T sizes[kMost], vars[kMost], averages[kMost];
    hn::StoreU(size, d, sizes);
    hn::StoreU(*of_row, d, vars);
    hn::StoreU(*of_row_average, d, averages);
    for (size_t k = 0; k < hn::Lanes(d); ++k) {
      if (!(sizes[k] < lasting)) continue;
      const int32_t steps = how.clock.MovingSteps(double{sizes[k]}, count);
      if (steps == count) continue;
      double of_one, of_one_average;
      how.clock.Lasting(s, s + steps, &of_one, &of_one_average);
      vars[k] = static_cast<T>(of_one);
      averages[k] = static_cast<T>(of_one_average);
    }
    *of_row = hn::LoadU(d, vars);
    *of_row_average = hn::LoadU(d, averages);
  }

  const Skipping& how;
  const SkippedRow& row;
  const int32_t s, count;
  LesseningOf<T> slots[kMaxSlots], var, average;
  T rest, e0, lost_of_squares = 0;
  T lasting = 0;  // kSign: a slot of this size lasts for all steps
  size_t terms;
  T of_var[kMaxTerms], of_average[kMaxTerms];
};

struct Skipped {
  template <class Codec>
  static void Row(const Skipping& how, int32_t s, const SkippedRow& row) {
    WalkAll<typename Codec::Compute>(SkipBody<Codec>(how, s, row), how.width);
  }

  static SkipFunction Of(DType dtype) {
    return WithCodec(dtype, [](auto codec) -> SkipFunction { return &Row<decltype(codec)>; });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

SkipFunction SkipOf(DType dtype) {
  static constexpr SkipFunction (*kTable[])(DType) = SLOTWISE_TABLE(Skipped::Of);
  return kTable[TargetIndex()](dtype);
}

}  // namespace slotwise
#endif
