// SPDX-License-Identifier: Apache-2.0
// The kernels of Adafactor's variants, for the driver in factored.h.

#if defined(SLOTWISE_DRIVERS_FACTORED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_FACTORED_INL_H_
#undef SLOTWISE_DRIVERS_FACTORED_INL_H_
#else
#define SLOTWISE_DRIVERS_FACTORED_INL_H_
#endif

#include "drivers/factored.h"
#include "drivers/update-inl.h"
#include "simd/ops-inl.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Adds terms to sums.
template <class T>
struct AddTo {
  double* sums;
  const T* terms;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    const auto term = Widened<PlainCodec<T>>{terms}(d, i);
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i), term), d, sums + i);
  }
};

// These are not inlined: they are compiled once, whatever the rule.
template <class T>
HWY_NOINLINE void AddTerms(const T* terms, size_t count, double* sums) {
  WalkAll<double>(AddTo<T>{sums, terms}, count);
}

template <class T>
HWY_NOINLINE double SumOfTerms(const T* terms, size_t count) {
  return SumOf<double>(Widened<PlainCodec<T>>{terms}, count);
}

template <class Codec>
HWY_NOINLINE double SumOfSquares(const typename Codec::Stored* x, size_t count) {
  return SumOf<double>(Squared<Codec>{x}, count);
}

template <class R, class Codec>
class Factored {
 public:
  static constexpr bool kKeepsEstimates = R::kSpec.slots[2].layout == Layout::kLikeVar;

  static constexpr FactoredKernel Kernel() {
    return {kKeepsEstimates, R::kDecaysFirst, &MakeCoefficients<R, Compute>,
            &AddSquares,     &Average,        &Measure,
            &LengthOf,       &Update};
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;

  // A row of a part.
  static const Stored* Gradient(const FactoredPart& part, size_t row) {
    return static_cast<const Stored*>(part.grad) + row * part.stride;
  }
  static Stored* Var(const FactoredPart& part, size_t row) {
    return static_cast<Stored*>(part.var) + row * part.stride;
  }

  // Its second moments.
  struct Moments {
    Moments(const Coefficients& all, const FactoredPart& part, size_t row)
        : c(all), of_columns(static_cast<const Compute*>(part.of_columns)) {
      if (part.v != nullptr) v = static_cast<Stored*>(part.v) + row * part.stride;
      if (of_columns != nullptr) of_row = static_cast<const Compute*>(part.of_rows)[row];
    }

    template <class D, class V>
    HWY_INLINE V At(D d, size_t i, V g) const {
      if (of_columns != nullptr) return of_row * hn::LoadU(d, of_columns + i);
      return R::Average(c, Codec::Load(d, v + i), R::Square(c, g));
    }

    // Whether v holds them after a step.
    bool are_kept() const { return kKeepsEstimates || of_columns == nullptr; }

    const Coefficients& c;
    const Compute* of_columns;
    Stored* v = nullptr;
    Compute of_row = 0;
  };

  // The bodies of walks along a row.
  struct Squares {
    const Coefficients& c;
    const Stored* grad;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(grad + i);
      hn::StoreU(R::Square(c, Codec::Load(d, grad + i)), d, out + i);
    }
  };

  struct Directions {
    const Moments& moments;
    const Stored* grad;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(grad + i);
      const auto g = Codec::Load(d, grad + i);
      hn::StoreU(R::Direction(moments.c, g, moments.At(d, i, g)), d, out + i);
    }
  };

  struct Steps {
    const Moments& moments;
    const Stored* grad;
    Stored* var_;
    Compute alpha, denominator;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(grad + i);
      FetchAhead(var_ + i);
      const auto g = Codec::Load(d, grad + i);
      const auto v = moments.At(d, i, g);
      const auto var = Codec::Load(d, var_ + i);
      if (moments.are_kept()) Codec::Store(d, v, moments.v + i);
      const auto direction = R::Direction(moments.c, g, v);
      Codec::Store(d, R::Stepped(alpha, denominator, var, direction), var_ + i);
    }
  };

  static void AddSquares(const AnyCoefficients& coefficients, const FactoredPart& part,
                         double* column_sums, double* row_sums, size_t across) {
    const Coefficients c = ReadCoefficients<Coefficients>(coefficients);
    Compute squares[kTileColumns];
    for (size_t row = 0; row < part.rows; ++row) {
      WalkAll<Compute>(Squares{c, Gradient(part, row), squares}, part.count);
      AddTerms(squares, part.count, column_sums);
      row_sums[row * across] = SumOfTerms(squares, part.count);
    }
  }

  static void Average(const AnyCoefficients& coefficients, const FactoredMeans& m) {
    const Coefficients c = ReadCoefficients<Coefficients>(coefficients);
    auto* const of_rows = static_cast<Compute*>(m.of_rows);
    auto* const of_columns = static_cast<Compute*>(m.of_columns);
    for (size_t row = 0; row < m.rows; ++row) {
      const double* const sums = m.row_sums + row * m.across;
      double sum = 0;
      for (size_t k = 0; k < m.across; ++k) sum += sums[k];
      of_rows[row] =
          Renew(c, static_cast<Stored*>(m.row_slots) + row, sum / static_cast<double>(m.columns));
    }
    for (size_t column = 0; column < m.columns; ++column) {
      const double* const sums = m.column_sums + column;
      double sum = 0;
      for (size_t k = 0; k < m.down; ++k) sum += sums[k * m.columns];
      of_columns[column] = Renew(c, static_cast<Stored*>(m.column_slots) + column,
                                 sum / static_cast<double>(m.rows));
    }
    const auto mean =
        static_cast<Compute>(SumOfTerms(of_rows, m.rows) / static_cast<double>(m.rows));
    const Compute divisor = R::Divisor(c, mean);
    for (size_t row = 0; row < m.rows; ++row) of_rows[row] = ScalarQuotient(of_rows[row], divisor);
  }

  // Averages an element of a slot with a new mean; returns it unrounded.
  static Compute Renew(const Coefficients& c, Stored* slot, double mean) {
    const hn::CappedTag<Compute, 1> one;
    const Compute old = hn::GetLane(Codec::Load(one, slot));
    const Compute now = R::Average(c, old, static_cast<Compute>(mean));
    Codec::Store(one, hn::Set(one, now), slot);
    return now;
  }

  static void Measure(const AnyCoefficients& coefficients, const FactoredPart& part, double* of_var,
                      double* of_direction) {
    Compute directions[kTileColumns];
    for (size_t row = 0; row < part.rows; ++row) {
      DirectionsOf(coefficients, part, row, directions);
      *of_var += SumOfSquares<Codec>(Var(part, row), part.count);
      *of_direction += SumOfSquares<PlainCodec<Compute>>(directions, part.count);
    }
  }

  // (These two are not inlined, as the compiler makes slower loops of loops in loops.)
  static HWY_NOINLINE void DirectionsOf(const AnyCoefficients& coefficients,
                                        const FactoredPart& part, size_t row, Compute* out) {
    const Coefficients c = ReadCoefficients<Coefficients>(coefficients);
    const Moments moments(c, part, row);
    WalkAll<Compute>(Directions{moments, Gradient(part, row), out}, part.count);
  }

  static HWY_NOINLINE void Step(const AnyCoefficients& coefficients, const FactoredPart& part,
                                size_t row, Compute alpha, Compute denominator) {
    const Coefficients c = ReadCoefficients<Coefficients>(coefficients);
    const Moments moments(c, part, row);
    WalkAll<Compute>(Steps{moments, Gradient(part, row), Var(part, row), alpha, denominator},
                     part.count);
  }

  static FactoredLength LengthOf(const AnyCoefficients& coefficients, double rms_of_var,
                                 double rms_of_direction) {
    const Coefficients c = ReadCoefficients<Coefficients>(coefficients);
    return {R::LargerOf(c.epsilon_2, static_cast<Compute>(rms_of_var)) * c.lr,
            R::LargerOf(Compute{1},
                        ScalarQuotient(static_cast<Compute>(rms_of_direction), c.clip_threshold))};
  }

  static void Update(const AnyCoefficients& coefficients, const FactoredPart& part,
                     const FactoredLength& length) {
    for (size_t row = 0; row < part.rows; ++row) {
      Step(coefficients, part, row, static_cast<Compute>(length.alpha),
           static_cast<Compute>(length.denominator));
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
