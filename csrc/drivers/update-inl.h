// SPDX-License-Identifier: Apache-2.0
// One vector of an update: what all drivers share.

#if defined(SLOTWISE_DRIVERS_UPDATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_UPDATE_INL_H_
#undef SLOTWISE_DRIVERS_UPDATE_INL_H_
#else
#define SLOTWISE_DRIVERS_UPDATE_INL_H_
#endif

#include <algorithm>
#include <array>
#include <new>
#include <type_traits>
#include <utility>

#include "core/registry.h"
#include "core/types.h"
#include "drivers/kernel.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// In all drivers, R is a rule, and Codec says how its arrays are stored and what they are computed
// in.

// A hyperparameter, rounded to the compute type where it is used.
template <class T>
struct Number {
  operator T() const { return static_cast<T>(number); }

  // 1 - number, as close as T comes to it. (Of a float32, the difference in double that is rounded
  // again is the difference in float32: double has more than twice the bits and two.)
  T one_minus() const { return static_cast<T>(1 - number); }

  double number;
};

// Hyperparameters and attributes, in the order of the rule's spec.
template <class R, class T>
struct Arguments {
  static constexpr size_t kHypers = CountHypers(R::kSpec);

  HWY_INLINE Arguments(const double* numbers, const bool* attr_values)
      : Arguments(numbers, attr_values, std::make_index_sequence<kHypers>()) {}

  std::array<Number<T>, kHypers> hypers;
  std::array<bool, CountAttrs(R::kSpec)> attrs;

 private:
  // (A loop would copy them by vectors, which wait for the numbers that were just stored.)
  template <size_t... kIndex>
  HWY_INLINE Arguments(const double* numbers, const bool* attr_values,
                       std::index_sequence<kIndex...>)
      : hypers{{{numbers[kIndex]}...}} {
    std::copy_n(attr_values, attrs.size(), attrs.begin());
  }
};

// What the rule makes of a call's numbers.
template <class R, class T>
HWY_INLINE typename R::template Coefficients<T> CoefficientsOf(const double* hypers,
                                                               const bool* attrs) {
  return R::Make(Arguments<R, T>(hypers, attrs));
}

// The same, for drivers that do not know their type.
template <class R, class T>
void MakeCoefficients(const double* hypers, const bool* attrs, AnyCoefficients* to) {
  using Coefficients = typename R::template Coefficients<T>;
  static_assert(sizeof(Coefficients) <= sizeof(AnyCoefficients));
  static_assert(alignof(Coefficients) <= alignof(AnyCoefficients));
  static_assert(std::is_trivially_copyable_v<Coefficients>);
  new (to->memory) Coefficients(CoefficientsOf<R, T>(hypers, attrs));
}

template <class C>
HWY_INLINE const C& ReadCoefficients(const AnyCoefficients& from) {
  return *std::launder(reinterpret_cast<const C*>(from.memory));
}

// The arrays of an update, of the types of their elements.
template <class T, class G, size_t kSlots>
HWY_INLINE Arrays<T, G> Typed(const ByteArrays& bytes) {
  Arrays<T, G> arrays;
  arrays.var = reinterpret_cast<T*>(bytes.var);
  for (size_t i = 0; i < kSlots; ++i) arrays.slots[i] = reinterpret_cast<T*>(bytes.slots[i]);
  arrays.grad = reinterpret_cast<const G*>(bytes.grad);
  return arrays;
}

template <class R, class Codec>
struct Update {
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;
  static constexpr size_t kSlots = CountSlots(R::kSpec);

  // The rule applied to one vector (or pair) of elements, from i on, with gradient g. Without
  // kVar, var is neither read nor written (g stands in for it).
  template <bool kVar, class D, class A, class V>
  static HWY_INLINE void StepAt(D d, const Coefficients& c, const A& a, size_t i, V g) {
    V var = g;
    if constexpr (kVar) var = Codec::Load(d, a.var + i);
    if constexpr (kSlots == 0) {
      Step(c, g, var);
    } else {
      auto slot0 = Codec::Load(d, a.slots[0] + i);
      if constexpr (kSlots == 1) {
        Step(c, g, var, slot0);
      } else {
        auto slot1 = Codec::Load(d, a.slots[1] + i);
        if constexpr (kSlots == 2) {
          Step(c, g, var, slot0, slot1);
        } else {
          auto slot2 = Codec::Load(d, a.slots[2] + i);
          Step(c, g, var, slot0, slot1, slot2);
          Codec::Store(d, slot2, a.slots[2] + i);
        }
        Codec::Store(d, slot1, a.slots[1] + i);
      }
      Codec::Store(d, slot0, a.slots[0] + i);
    }
    if constexpr (kVar) Codec::Store(d, var, a.var + i);
  }

 private:
  template <class V, class... Vs>
  static HWY_INLINE void Step(const Coefficients& c, V g, Vs&... arrays) {
    R::Step(c, g, arrays...);
  }
  template <class V, class... Vs>
  static HWY_INLINE void Step(const Coefficients& c, const Pair<V>& g, Vs&... arrays) {
    R::Step(c, g.first, arrays.first...);
    R::Step(c, g.second, arrays.second...);
  }
};

template <template <class, class> class Driver, class R, class Call>
void RunDriver(const Call& call) {
  WithCodec(call.dtype, [&](auto codec) HWY_ATTR { Driver<R, decltype(codec)>(call).Run(); });
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
