// SPDX-License-Identifier: Apache-2.0
// Sums of rows that are rounded once, at their end.

#if defined(SLOTWISE_SIMD_EXACT_ROW_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_EXACT_ROW_SUM_INL_H_
#undef SLOTWISE_SIMD_EXACT_ROW_SUM_INL_H_
#else
#define SLOTWISE_SIMD_EXACT_ROW_SUM_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "core/exact_sum.h"
#include "core/scratch.h"
#include "simd/row_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// The sum of rows, as RowSum's, as if nothing were rounded before its end: in float64, with the
// error of each addition carried along. Elements whose carried error was rounded itself are summed
// by ExactSum. A few float32 numbers at a time need no such care, as long as their exponents are
// near enough for float64 to hold all their bits.
template <class Codec, class Rows>
class ExactRowSum {
 public:
  using Compute = typename Codec::Compute;

  // Of `count` rows, at least 2. `to_odd`: what comes of float32 will be rounded once more.
  // `unrounded`: where the sums are put instead, with the errors that are carried.
  ExactRowSum(const Rows& all, size_t count, Compute* to, bool odd, const UnroundedSums* unrounded)
      : rows_(all), total_(count), out_(to), to_odd_(odd), finishes_(unrounded == nullptr) {
    if (unrounded == nullptr) return;
    known_sums_ = unrounded->sums;
    known_errors_ = unrounded->errors;
    known_inexact_ = unrounded->inexact;
  }

  void Run(size_t width) {
    if (total_ > kFew && finishes_) {  // rows are taken a few at a time, so that they are read once
      state_ = Scratch(2 * Scratch::Size<double>(width) + Scratch::Size<uint64_t>(width));
      known_sums_ = state_.Take<double>(width);
      known_errors_ = state_.Take<double>(width);
      known_inexact_ = state_.Take<uint64_t>(width);
    }
    for (begin_ = 0; begin_ < total_; begin_ += kFew) {
      end_ = std::min(total_, begin_ + kFew);
      WalkByMany<4, double>(*this, width);
    }
  }

  // Adds rows [begin, end) to vectors of the sum.
  template <size_t kVectors, class D>
  HWY_INLINE void Walk(D d, size_t i) const {
    using V = hn::VFromD<D>;
    const hn::RebindToUnsigned<D> du;
    V sums[kVectors], errors[kVectors];
    hn::VFromD<decltype(du)> inexact[kVectors];
    size_t next = begin_;
    if (begin_ == 0) {
      if (i == 0) rows_.Fetch(0);
      const auto* const row = rows_.Row(0) + i;
      const auto weight = WeightOf<Codec>(rows_, 0);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[j] = WideTerm(d, At(d, row, j), weight);
        errors[j] = hn::Zero(d);
        inexact[j] = Doubtful(d, sums[j]);
      }
      next = 1;
    } else {
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[j] = hn::LoadU(d, known_sums_ + At(d, i, j));
        errors[j] = hn::LoadU(d, known_errors_ + At(d, i, j));
        inexact[j] = hn::LoadU(du, known_inexact_ + At(d, i, j));
      }
    }
    if (!AddPlainly(d, i, next, sums, errors, inexact)) {
      AddCarefully(d, i, next, sums, errors, inexact);
    }
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) {
      if (end_ == total_ && finishes_) {
        Finish(d, At(d, i, j), sums[j], errors[j], inexact[j]);
      } else {
        hn::StoreU(sums[j], d, known_sums_ + At(d, i, j));
        hn::StoreU(errors[j], d, known_errors_ + At(d, i, j));
        hn::StoreU(inexact[j], du, known_inexact_ + At(d, i, j));
      }
    }
  }

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    Walk<1>(d, i);
  }

 private:
  static constexpr size_t kFew = 64;    // rows at a time, a power of two
  static constexpr size_t kEnough = 8;  // for a sum of their own

  // Adds rows [from, end) and carries the error of each addition along.
  template <class D, class V, class U, size_t kVectors>
  HWY_INLINE void AddCarefully(D d, size_t i, size_t from, V (&sums)[kVectors],
                               V (&errors)[kVectors], U (&inexact)[kVectors]) const {
    const hn::RebindToUnsigned<D> du;
    for (size_t k = from; k < end_; ++k) {
      if (i == 0) rows_.Fetch(k);
      const auto* const row = rows_.Row(k) + i;
      const auto weight = WeightOf<Codec>(rows_, k);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        const V term = WideTerm(d, At(d, row, j), weight);
        if (k == 1) {  // there is no error yet; there is none, but NaN, where a sum is infinite
          errors[j] = AddTo(sums[j], term);
          inexact[j] = hn::Or(inexact[j], hn::BitCast(du, hn::Sub(errors[j], errors[j])));
        } else {
          Carry(d, term, sums[j], errors[j], inexact[j]);
        }
        inexact[j] = hn::Or(inexact[j], Doubtful(d, term));
      }
    }
  }

  // The same with one error for all of these rows, if there are enough of them and their own sum is
  // exact: then the exponents of its terms, which are not 0, are so near to each other that their
  // bits and those of the number of terms fit into float64. Else returns false, and has added
  // nothing. (For float32, by several vectors: it is compiled for long enough.)
  template <class D, class V, class U, size_t kVectors>
  HWY_INLINE bool AddPlainly(D d, size_t i, size_t from, V (&sums)[kVectors], V (&errors)[kVectors],
                             U (&inexact)[kVectors]) const {
    if constexpr (sizeof(Compute) == sizeof(double) || kVectors == 1) {
      return false;
    } else {
      return end_ - from >= kEnough && AddPlain(d, i, from, sums, errors, inexact);
    }
  }

  template <class D, class V, class U, size_t kVectors>
  HWY_INLINE bool AddPlain(D d, size_t i, size_t from, V (&sums)[kVectors], V (&errors)[kVectors],
                           U (&inexact)[kVectors]) const {
    constexpr uint32_t kNear = 53 - 24 - 6, kInfinite = 255;
    static_assert(kFew == size_t{1} << 6);
    // Exponents are looked at by vectors of float32, which have more lanes.
    using Looked = hn::ScalableTag<float>;
    constexpr size_t kLooks = kVectors * kLanes<D> / kLanes<Looked>;
    const Looked dl;
    const hn::RebindToUnsigned<Looked> du;
    using Bits = hn::VFromD<decltype(du)>;
    const Bits magnitude = hn::Set(du, 0x7FFFFFFFu), one = hn::Set(du, 1u);
    V plain[kVectors];
    Bits largest[kLooks], smallest[kLooks];  // of the terms; less 1, so that 0 counts as large
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) plain[j] = hn::Zero(d);
    HWY_UNROLL(8)
    for (size_t j = 0; j < kLooks; ++j) {
      largest[j] = hn::Zero(du);
      smallest[j] = hn::Set(du, ~0u);
    }
    for (size_t k = from; k < end_; ++k) {
      if (i == 0) rows_.Fetch(k);
      const auto* const row = rows_.Row(k) + i;
      const auto weight = WeightOf<Codec>(rows_, k);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kLooks; ++j) {
        const auto term = Term<Codec, Rows>(dl, At(dl, row, j), weight);
        const Bits bits = hn::And(hn::BitCast(du, term), magnitude);
        largest[j] = hn::Max(largest[j], bits);
        smallest[j] = hn::Min(smallest[j], hn::Sub(bits, one));
      }
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        plain[j] = hn::Add(plain[j], WideTerm(d, At(d, row, j), weight));
      }
    }
    Bits farthest = hn::Zero(du), highest = hn::Zero(du);
    HWY_UNROLL(8)
    for (size_t j = 0; j < kLooks; ++j) {
      const Bits high = hn::ShiftRight<23>(largest[j]);
      // (If all terms are 0, this is 0, as `high` is.)
      const Bits low = hn::ShiftRight<23>(hn::Add(smallest[j], one));
      farthest = hn::Max(farthest, hn::Sub(high, low));
      highest = hn::Max(highest, high);
    }
    const auto is_near = hn::Eq(hn::Min(farthest, hn::Set(du, kNear)), farthest);
    const auto is_infinite = hn::Eq(highest, hn::Set(du, kInfinite));
    if (!hn::AllTrue(du, is_near) || !hn::AllFalse(du, is_infinite)) return false;
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) Carry(d, plain[j], sums[j], errors[j], inexact[j]);
    return true;
  }

  // Adds a term to a sum, and what that loses to its error; notes what that loses.
  template <class D, class V, class U>
  static HWY_INLINE void Carry(D, V term, V& sum, V& error, U& inexact) {
    const hn::RebindToUnsigned<D> du;
    const V lost = AddTo(error, AddTo(sum, term));
    inexact = hn::Or(inexact, hn::BitCast(du, lost));
  }

  template <class D>
  static HWY_INLINE hn::VFromD<D> WideTerm(D d, const typename Codec::Stored* from,
                                           Compute weight) {
    if constexpr (sizeof(Compute) == sizeof(double)) {
      return Term<Codec, Rows>(d, from, weight);
    } else {
      return hn::PromoteTo(d, Term<Codec, Rows>(hn::Rebind<float, D>(), from, weight));
    }
  }

  // Adds to a sum. Returns what the addition lost.
  template <class V>
  static HWY_INLINE V AddTo(V& sum, V term) {
    const V before = sum;
    sum = hn::Add(before, term);
    const V added = hn::Sub(sum, before);
    return hn::Add(hn::Sub(before, hn::Sub(sum, added)), hn::Sub(term, added));
  }

  // Not 0 where the error of an addition may be a denormal, which is flushed.
  template <class D>
  static HWY_INLINE hn::VFromD<hn::RebindToUnsigned<D>> Doubtful(D d, hn::VFromD<D> term) {
    const hn::RebindToUnsigned<D> du;
    if constexpr (sizeof(Compute) < sizeof(double)) return hn::Zero(du);
    const auto size = hn::Abs(term);
    const auto is_small = hn::Lt(size, hn::Set(d, 0x1p-960));
    return hn::BitCast(du, hn::IfThenElseZero(is_small, size));
  }

  template <class D>
  HWY_INLINE void Finish(D d, size_t i, hn::VFromD<D> sum, hn::VFromD<D> error,
                         hn::VFromD<hn::RebindToUnsigned<D>> inexact) const {
    const hn::RebindToUnsigned<D> du;
    if (!hn::AllTrue(du, hn::Eq(inexact, hn::Zero(du)))) return Slowly(i, hn::Lanes(d));
    const auto lost = AddTo(sum, error);  // (+0 if there is nothing left)
    if constexpr (sizeof(Compute) == sizeof(double)) {
      hn::StoreU(sum, d, out_ + i);
    } else {
      const hn::Rebind<float, D> df;
      if (!to_odd_ && hn::AllTrue(d, hn::Eq(lost, hn::Zero(d)))) {
        return hn::StoreU(Narrow(df, sum), df, out_ + i);
      }
      // Rounded to an odd number, it can be rounded again to one of half the bits.
      const auto one = hn::Set(du, 1u);
      const auto bits = hn::BitCast(du, sum);
      const auto apart = hn::ShiftRight<63>(hn::Xor(bits, hn::BitCast(du, lost)));
      const auto step = hn::Sub(hn::Sub(one, apart), apart);
      const auto is_due = hn::And(hn::RebindMask(du, hn::Ne(lost, hn::Zero(d))),
                                  hn::Eq(hn::And(bits, one), hn::Zero(du)));
      const auto odd = hn::BitCast(d, hn::Add(bits, hn::IfThenElseZero(is_due, step)));
      if constexpr (sizeof(typename Codec::Stored) < sizeof(Compute)) {
        if (to_odd_) return NarrowToOdd(df, odd, out_ + i);
      }
      hn::StoreU(Narrow(df, odd), df, out_ + i);
    }
  }

  // Of the two numbers around `wide`, the one that is odd.
  template <class DF, class V>
  static HWY_INLINE void NarrowToOdd(DF df, V wide, Compute* to) {
    const hn::Rebind<double, DF> d;
    const hn::RebindToUnsigned<DF> du;
    const auto one = hn::Set(du, 1u);
    const auto nearest = Narrow(df, wide);
    const auto back = hn::PromoteTo(d, nearest);
    HWY_ALIGN uint32_t is_beyond[kLanes<DF>];
    HWY_ALIGN uint32_t is_other[kLanes<DF>];
    HWY_ALIGN double wides[kLanes<DF>], backs[kLanes<DF>];
    hn::Store(wide, d, wides);
    hn::Store(back, d, backs);
    for (size_t k = 0; k < kLanes<DF>; ++k) {
      is_beyond[k] = std::fabs(backs[k]) > std::fabs(wides[k]) ? 1 : 0;
      is_other[k] = backs[k] != wides[k] ? 1 : 0;
    }
    // Towards 0 where it was rounded away from it, and odd where it was rounded.
    const auto bits = hn::Sub(hn::BitCast(du, nearest), hn::Load(du, is_beyond));
    const auto odd = hn::Or(bits, hn::And(hn::Load(du, is_other), one));
    hn::StoreU(hn::BitCast(df, odd), df, to);
  }

  HWY_NOINLINE void Slowly(size_t first, size_t lanes) const {
    const hn::CappedTag<Compute, 1> one;
    for (size_t i = first; i < first + lanes; ++i) {
      ExactSum sum;
      for (size_t k = 0; k < total_; ++k) {
        const auto weight = WeightOf<Codec>(rows_, k);
        sum.Add(hn::GetLane(Term<Codec, Rows>(one, rows_.Row(k) + i, weight)));
      }
      out_[i] = sum.Rounded<Compute>(to_odd_);
    }
  }

  const Rows rows_;
  const size_t total_;
  Compute* const out_;
  const bool to_odd_, finishes_;
  size_t begin_ = 0, end_ = 0;  // of the rows that are added now
  Scratch state_;
  // What is known of the sum before them, if there are any before.
  double *known_sums_ = nullptr, *known_errors_ = nullptr;
  uint64_t* known_inexact_ = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
