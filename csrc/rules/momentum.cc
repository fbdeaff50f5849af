// SPDX-License-Identifier: Apache-2.0
// ApplyMomentum (Sutskever et al., "On the importance of initialization and momentum in deep
// learning", 2013):
//
//   accum = accum * momentum + g
//   var  -= accum * lr                                   or, with use_nesterov,
//   var  -= g * lr + accum * momentum * lr
//
// ApplyKerasMomentum keeps the learning rate inside the accumulator:
//
//   accum = accum * momentum - g * lr
//   var  += accum                                        or, with use_nesterov,
//   var  += accum * momentum - g * lr
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/momentum.cc"
#include "hwy/foreach_target.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct MomentumCoefficients {
  T lr, momentum;
  bool use_nesterov;
};

template <class R>
struct MomentumRule : Rule<R> {
  template <class T>
  using Coefficients = MomentumCoefficients<T>;

  template <class T>
  static HWY_INLINE MomentumCoefficients<T> Make(const Arguments<R, T>& args) {
    const auto& [lr, momentum] = args.hypers;
    const auto& [use_nesterov] = args.attrs;
    return {lr, momentum, use_nesterov};
  }
};

struct Momentum : MomentumRule<Momentum> {
  static constexpr RuleSpec kSpec = {
      "Momentum", {"accum"}, "grad", {{"lr"}, {"momentum"}}, {"use_nesterov"}};

  template <class T, class V>
  static HWY_INLINE void Step(const MomentumCoefficients<T>& c, V g, V& var, V& accum) {
    accum = accum * c.momentum + g;
    var = var - (c.use_nesterov ? g * c.lr + (accum * c.momentum) * c.lr : accum * c.lr);
  }
};

struct KerasMomentum : MomentumRule<KerasMomentum> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kSlot};
  static constexpr RuleSpec kSpec = {
      "KerasMomentum", {"accum"}, "grad", {{"lr"}, {"momentum"}}, {"use_nesterov"}};

  template <class T>
  static Motion Moves(const MomentumCoefficients<T>& c) {  // the rate is in accum
    Motion motion;
    motion.kept[0] = motion.ratio = c.momentum;
    motion.rate = c.use_nesterov ? -motion.ratio : -1;
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const MomentumCoefficients<T>& c, V g, V& var, V& accum) {
    accum = accum * c.momentum - g * c.lr;
    var = var + (c.use_nesterov ? accum * c.momentum - g * c.lr : accum);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Momentum);
SLOTWISE_DEFINE_RULE(KerasMomentum);
}  // namespace slotwise
#endif
