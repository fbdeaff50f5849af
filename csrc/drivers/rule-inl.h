// SPDX-License-Identifier: Apache-2.0
// What a rule file includes: the drivers and the kernels that they are given, the words to write a
// formula in, and the macro that makes the rule's registry entry out of all targets.
//
// A rule derives from Rule<itself> and has
//   static constexpr RuleSpec kSpec;                      its names
//   template <class T> struct Coefficients;               what a call needs of its numbers
//   static Coefficients<T> Make(arguments);               makes them of hyperparameters
//   static void Step(coefficients, g, var, slots...);     the formula, on vectors
// and, if an optimizer has its slots decay in rows that it leaves alone,
//   static constexpr bool kSlotsAlone = true;
// and, if steps of rows without a gradient can be put off (core/motion.h),
//   static constexpr Movement kMovement;                  how they move
//   static Motion Moves(coefficients);                    the numbers of a step

#if defined(SLOTWISE_DRIVERS_RULE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_RULE_INL_H_
#undef SLOTWISE_DRIVERS_RULE_INL_H_
#else
#define SLOTWISE_DRIVERS_RULE_INL_H_
#endif

#include "drivers/drivers.h"
#include "drivers/row-inl.h"
#include "drivers/span-inl.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Ways to update, as kernels have them.
template <bool kVar>
struct SpanWay {
  template <class R, class Codec>
  static HWY_INLINE void Apply(const typename R::template Coefficients<typename Codec::Compute>& c,
                               const ByteArrays& arrays, size_t count) {
    using Stored = typename Codec::Stored;
    Span<R, Codec>::template Apply<kVar>(c, Typed<Stored, Stored, CountSlots(R::kSpec)>(arrays),
                                         count);
  }
};

struct RowWay {
  template <class R, class Codec>
  static HWY_INLINE void Apply(const typename R::template Coefficients<typename Codec::Compute>& c,
                               const ByteArrays& arrays, size_t count) {
    ApplyToRow<R, Codec>(
        c, Typed<typename Codec::Stored, typename Codec::Compute, CountSlots(R::kSpec)>(arrays),
        count);
  }
};

// The function of such a kernel.
template <class Way, class R, class Codec>
void UpdateBy(const AnyCoefficients& coefficients, const ByteArrays& arrays, size_t count) {
  using Coefficients = typename R::template Coefficients<typename Codec::Compute>;
  Way::template Apply<R, Codec>(ReadCoefficients<Coefficients>(coefficients), arrays, count);
}

template <class Way, class R>
Kernel KernelFor(DType dtype) {
  return WithCodec(dtype, [](auto codec) -> Kernel {
    using Codec = decltype(codec);
    return {CountSlots(R::kSpec), &MakeCoefficients<R, typename Codec::Compute>,
            &UpdateBy<Way, R, Codec>};
  });
}

template <class R>
struct Rule {
  // Whether slots may be swept without var: no slot depends on it, and an optimizer asks for it.
  static constexpr bool kSlotsAlone = false;
  static constexpr Movement kMovement = {};

  static Kernel RowKernel(DType dtype) { return KernelFor<RowWay, R>(dtype); }
  static constexpr MotionFunction MotionOf() {
    if constexpr (R::kMovement.drift == Drift::kUnknown) {
      return nullptr;
    } else {
      return [](DType dtype, const double* hypers, const bool* attrs) {
        return dtype == DType::kF64 ? Motion(R::Moves(CoefficientsOf<R, double>(hypers, attrs)))
                                    : Motion(R::Moves(CoefficientsOf<R, float>(hypers, attrs)));
      };
    }
  }

  static void ApplyDense(const DenseCall& call) {
    RunDense(KernelFor<SpanWay<true>, R>(call.dtype), call);
  }
  static void ApplySparse(const SparseCall& call) { RunRows(RowKernel(call.dtype), call); }
  static void ApplySweep(const SweepCall& call) {
    if constexpr (R::kSlotsAlone) {
      if (call.untouched == Untouched::kSlots) {
        return RunSweep(KernelFor<SpanWay<false>, R>(call.dtype), call);
      }
    }
    RunSweep(KernelFor<SpanWay<true>, R>(call.dtype), call);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#undef SLOTWISE_DEFINE_RULE
#define SLOTWISE_DEFINE_RULE(rule)                                                       \
  static constexpr DenseFunction k##rule##Dense[] = SLOTWISE_TABLE(rule::ApplyDense);    \
  static constexpr SparseFunction k##rule##Sparse[] = SLOTWISE_TABLE(rule::ApplySparse); \
  static constexpr SweepFunction k##rule##Sweep[] = SLOTWISE_TABLE(rule::ApplySweep);    \
  static constexpr KernelFunction k##rule##Rows[] = SLOTWISE_TABLE(rule::RowKernel);     \
  extern const RuleEntry k##rule {                                                       \
    HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense, k##rule##Sparse, k##rule##Sweep,   \
        k##rule##Rows, HWY_STATIC_DISPATCH(rule)::kSlotsAlone,                           \
        HWY_STATIC_DISPATCH(rule)::kMovement, HWY_STATIC_DISPATCH(rule)::MotionOf()      \
  }

// Makes the entry of a rule that has a dense op only, since an update depends on all of var.
#undef SLOTWISE_DEFINE_DENSE_RULE
#define SLOTWISE_DEFINE_DENSE_RULE(rule)                                                    \
  static constexpr DenseFunction k##rule##Dense[] = SLOTWISE_TABLE(rule::ApplyDense);       \
  extern const RuleEntry k##rule {                                                          \
    HWY_STATIC_DISPATCH(rule)::kSpec, k##rule##Dense, nullptr, nullptr, nullptr, false, {}, \
        nullptr                                                                             \
  }

// Makes the entry of a rule that has a sparse op only.
#undef SLOTWISE_DEFINE_SPARSE_RULE
#define SLOTWISE_DEFINE_SPARSE_RULE(rule)                                                    \
  static constexpr SparseFunction k##rule##Sparse[] = SLOTWISE_TABLE(rule::ApplySparse);     \
  extern const RuleEntry k##rule {                                                           \
    HWY_STATIC_DISPATCH(rule)::kSpec, nullptr, k##rule##Sparse, nullptr, nullptr, false, {}, \
        nullptr                                                                              \
  }

#endif
