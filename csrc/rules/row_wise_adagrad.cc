// SPDX-License-Identifier: Apache-2.0
// SparseApplyRowWiseAdagrad: Adagrad with one accumulator per row, as recommender stacks use it to
// save memory (Mudigere et al., "Software-hardware co-design for fast and scalable training of deep
// learning recommendation models", 2022).
//
//   accum[row] += mean(g^2)
//   var[row]   -= g * lr / (sqrt(accum[row]) + epsilon)
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/row_wise_adagrad.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"
#include "drivers/row_wise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct RowWiseAdagrad {
  static constexpr RuleSpec kSpec = {
      "RowWiseAdagrad", {{"accum", Layout::kPerRow}}, "grad", {{"lr"}, {"epsilon"}}, {}};

  template <class T>
  struct Coefficients {
    T lr, epsilon;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<RowWiseAdagrad, T>& args) {
    const auto& [lr, epsilon] = args.hypers;
    return {lr, epsilon};
  }

  // Updates the row's accumulator; returns what its gradient is multiplied by.
  template <class T>
  static HWY_INLINE T RowStep(const Coefficients<T>& c, T mean_square, T& accum) {
    accum += mean_square;
    const T denominator = std::sqrt(accum) + c.epsilon;
    return denominator == 0 ? 0 : c.lr / denominator;  // no gradient yet: no update
  }

  template <class V>
  static HWY_INLINE void Step(Lane<V> scale, V g, V& var) {
    var = var - g * scale;
  }

  static void ApplySparse(const SparseCall& call) { RunDriver<RowWise, RowWiseAdagrad>(call); }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_SPARSE_RULE(RowWiseAdagrad);
}  // namespace slotwise
#endif
