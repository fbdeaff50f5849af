// SPDX-License-Identifier: Apache-2.0
// The driver of rules whose step is as long as the variable's norm says: a pass that measures both,
// then the update.
//
// Such a rule derives from ScaledRule<itself>. Instead of Step it has
//   static V Direction(coefficients, g, var, slots...);   updates the slots, gives the direction
// and its coefficients a member `rate`: the learning rate, multiplied here by |var| / |direction|.

#if defined(SLOTWISE_DRIVERS_SCALED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_SCALED_INL_H_
#undef SLOTWISE_DRIVERS_SCALED_INL_H_
#else
#define SLOTWISE_DRIVERS_SCALED_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "passes/decay_average.h"
#include "core/blocks.h"
#include "passes/gradients.h"
#include "drivers/span-inl.h"
#include "simd/ops-inl.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Scaled {
 public:
  explicit Scaled(const DenseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, Compute>(call.hypers, call.attrs)) {
    for (size_t i = 0; i < call.tensor_count; ++i) {
      const size_t count = call.tensors[i].count;
      blocks_.Add((count + kMeasuredBlock - 1) / kMeasuredBlock, count);
    }
  }

  void Run() const {
    constexpr size_t kMinElements = kMinBytesPerThread / (sizeof(Stored) * (2 + RuleSpan::kSlots));
    std::vector<double> var(blocks_.count()), direction(blocks_.count());
    blocks_.ForEach(kMinElements, Measure{*this, var.data(), direction.data()});
    const std::vector<double> of_var = blocks_.Totals(var);
    const std::vector<double> of_direction = blocks_.Totals(direction);
    std::vector<Compute> rates;
    for (size_t i = 0; i < call_.tensor_count; ++i) {
      const bool has_none = of_var[i] == 0 || of_direction[i] == 0;
      const double ratio = has_none ? 1 : std::sqrt(of_var[i]) / std::sqrt(of_direction[i]);
      rates.push_back(coefficients_.rate * static_cast<Compute>(ratio));
    }
    blocks_.ForEach(kMinElements, ApplySteps{*this, rates.data()});
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using RuleSpan = Span<R, Codec>;
  using Coefficients = typename RuleSpan::Coefficients;

  // Elements whose squares are summed at a time; they stay in the first-level cache. The bits of
  // the sums depend on this number.
  static constexpr size_t kMeasuredBlock = 1024;

  // The arrays of a block, with its gradient, which may lie in `memory`.
  Arrays<Stored> ArraysOf(const DenseTensor& tensor, size_t begin, size_t count,
                          Stored* memory) const {
    const void* const grad =
        GradientSpan(call_.dtype, tensor.grad, tensor.transform, begin, count, memory);
    return Typed<Stored, Stored, RuleSpan::kSlots>(BytesOf(tensor))
        .From(RuleSpan::kSlots, begin, static_cast<const Stored*>(grad));
  }

  static size_t Count(const DenseTensor& tensor, size_t begin) {
    return std::min(kMeasuredBlock, tensor.count - begin);
  }

  // The body of a walk: the direction, while the slots stay as they are.
  struct Direction {
    const Coefficients& c;
    const Arrays<Stored>& a;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(a.grad + i);
      for (size_t k = 0; k < RuleSpan::kSlots; ++k) FetchAhead(a.slots[k] + i);
      hn::StoreU(At(d, i, std::make_index_sequence<RuleSpan::kSlots>()), d, out + i);
    }

   private:
    template <class D, size_t... kSlot>
    HWY_INLINE hn::VFromD<D> At(D d, size_t i, std::index_sequence<kSlot...>) const {
      return OfCopies(Codec::Load(d, a.grad + i), Codec::Load(d, a.var + i),
                      Codec::Load(d, a.slots[kSlot] + i)...);
    }

    template <class V, class... Vs>
    HWY_INLINE V OfCopies(V g, V var, Vs... slots) const {
      return R::Direction(c, g, var, slots...);
    }
  };

  struct Measure {
    const Scaled& self;
    double* var;
    double* direction;

    void operator()(size_t i, size_t block, size_t number) const {
      const DenseTensor& tensor = self.call_.tensors[i];
      const size_t begin = block * kMeasuredBlock, count = Count(tensor, begin);
      BeforeUpdate(self.call_.dtype, tensor.decay_average, begin, count, tensor.var);
      Stored grad[kMeasuredBlock];
      const Arrays<Stored> arrays = self.ArraysOf(tensor, begin, count, grad);
      const Coefficients c = self.coefficients_;
      Compute out[kMeasuredBlock];
      WalkAll<Compute>(Direction{c, arrays, out}, count);
      var[number] = SumOf<double>(Squared<Codec>{arrays.var}, count);
      direction[number] = SumOf<double>(Squared<PlainCodec<Compute>>{out}, count);
    }
  };

  struct ApplySteps {
    const Scaled& self;
    const Compute* rates;

    void operator()(size_t i, size_t block, size_t) const {
      const DenseTensor& tensor = self.call_.tensors[i];
      const size_t begin = block * kMeasuredBlock, count = Count(tensor, begin);
      Stored grad[kMeasuredBlock];
      Coefficients c = self.coefficients_;
      c.rate = rates[i];
      RuleSpan::Apply(c, self.ArraysOf(tensor, begin, count, grad), count);
      AfterUpdate(self.call_.dtype, tensor.decay_average, begin, count, tensor.var);
    }
  };

  const DenseCall& call_;
  Coefficients coefficients_;
  Blocks blocks_;
};

template <class R>
struct ScaledRule {
  static void ApplyDense(const DenseCall& call) { RunDriver<Scaled, R>(call); }

  template <class C, class V, class... Slots>
  static HWY_INLINE void Step(const C& c, V g, V& var, Slots&... slots) {
    var = var - c.rate * R::Direction(c, g, var, slots...);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
