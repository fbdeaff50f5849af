// SPDX-License-Identifier: Apache-2.0
// ApplyAdam (Kingma and Ba, "Adam: a method for stochastic optimization", 2014):
//
//   alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
//   m    += (g - m) * (1 - beta1)
//   v    += (g^2 - v) * (1 - beta2)
//   var  -= m * alpha / (sqrt(v) + epsilon)              or, with use_nesterov,
//   var  -= (g * (1 - beta1) + beta1 * m) * alpha / (sqrt(v) + epsilon)
//
// ApplyAdamWithAmsgrad (Reddi et al., "On the convergence of Adam and beyond", 2018):
//
//   vhat  = max(vhat, v)
//   var  -= m * alpha / (sqrt(vhat) + epsilon)
//
// ApplyAdaMax (the infinity-norm variant in the Adam paper):
//
//   m    += (g - m) * (1 - beta1)
//   v     = max(beta2 * v, |g|)
//   var  -= lr / (1 - beta1_power) * m / (v + epsilon)
//
// ApplyTorchAdaMax, as PyTorch computes it:
//
//   m    += (g - m) * (1 - beta1)
//   v     = max(beta2 * v, |g| + epsilon)
//   var  -= lr / (1 - beta1_power) * m / v
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rules/adam.cc"
#include "hwy/foreach_target.h"
#include "rules/moments-inl.h"
#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct Adam : Rule<Adam> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kOverRoot, 0, 1, 1, {true, true}};
  static constexpr RuleSpec kSpec = {"Adam",
                                     {"m", "v"},
                                     "grad",
                                     {kBeta1Power, kBeta2Power, kLr, kBeta1, kBeta2, kEpsilon},
                                     {"use_nesterov"}};

  template <class T>
  struct Coefficients : CorrectedMoments<T> {
    T beta1;
    bool use_nesterov;
  };

  template <class T>
  static HWY_INLINE Coefficients<T> Make(const Arguments<Adam, T>& args) {
    const auto& [beta1_power, beta2_power, lr, beta1, beta2, epsilon] = args.hypers;
    const auto& [use_nesterov] = args.attrs;
    return {Correct<T>(lr, beta1_power, beta2_power, beta1, beta2, epsilon), beta1, use_nesterov};
  }

  template <class T>
  static Motion Moves(const Coefficients<T>& c) {
    return MomentsMove(c, c.alpha, c.epsilon);
  }

  template <class T, class V>
  static HWY_INLINE void Step(const Coefficients<T>& c, V g, V& var, V& m, V& v) {
    UpdateMoments(c, g, m, v);
    const V direction = c.use_nesterov ? g * c.one_minus_beta1 + c.beta1 * m : m;
    var = var - QuotientOfRoot(direction * c.alpha, Sqrt(v), c.epsilon);
  }
};

struct AdamWithAmsgrad : Rule<AdamWithAmsgrad> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kOverLargest, 0, 2, 1, {true, true}};
  static constexpr RuleSpec kSpec = {"AdamWithAmsgrad",
                                     {"m", "v", "vhat"},
                                     "grad",
                                     {kBeta1Power, kBeta2Power, kLr, kBeta1, kBeta2, kEpsilon},
                                     {}};

  template <class T>
  using Coefficients = CorrectedMoments<T>;

  template <class T>
  static HWY_INLINE CorrectedMoments<T> Make(const Arguments<AdamWithAmsgrad, T>& args) {
    const auto& [beta1_power, beta2_power, lr, beta1, beta2, epsilon] = args.hypers;
    return Correct<T>(lr, beta1_power, beta2_power, beta1, beta2, epsilon);
  }

  // While v only fades, vhat stays.
  template <class T>
  static Motion Moves(const CorrectedMoments<T>& c) {
    Motion motion = MomentsMove(c, c.alpha, c.epsilon);
    motion.shrink = 1;
    motion.ratio = motion.kept[0];
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const CorrectedMoments<T>& c, V g, V& var, V& m, V& v, V& vhat) {
    UpdateMoments(c, g, m, v);
    vhat = FirstMax(vhat, v);
    var = var - QuotientOfRoot(m * c.alpha, Sqrt(vhat), c.epsilon);
  }
};

template <class T>
struct AdaMaxCoefficients {
  T alpha, one_minus_beta1, beta2, epsilon;
};

template <class R>
struct AdaMaxRule : Rule<R> {
  template <class T>
  using Coefficients = AdaMaxCoefficients<T>;

  template <class T>
  static HWY_INLINE AdaMaxCoefficients<T> Make(const Arguments<R, T>& args) {
    const auto& [beta1_power, lr, beta1, beta2, epsilon] = args.hypers;
    return {ScalarQuotient<T>(lr, beta1_power.one_minus()), beta1.one_minus(), beta2, epsilon};
  }
};

struct AdaMax : AdaMaxRule<AdaMax> {
  static constexpr Movement kMovement = {Drift::kFading, Base::kOver, 0, 1, 1, {true}};
  static constexpr RuleSpec kSpec = {
      "AdaMax", {"m", "v"}, "grad", {kBeta1Power, kLr, kBeta1, kBeta2, kEpsilon}, {}};

  template <class T>
  static Motion Moves(const AdaMaxCoefficients<T>& c) {
    Motion motion;
    motion.kept = {1 - double{c.one_minus_beta1}, double{c.beta2}, 1};
    motion.rate = c.alpha;
    motion.epsilon = c.epsilon;
    motion.shrink = motion.kept[1];
    motion.ratio = motion.kept[0] / motion.shrink;
    return motion;
  }

  template <class T, class V>
  static HWY_INLINE void Step(const AdaMaxCoefficients<T>& c, V g, V& var, V& m, V& v) {
    m = m + (g - m) * c.one_minus_beta1;
    v = FirstMax(c.beta2 * v, Abs(g));
    var = var - c.alpha * Quotient(m, v + c.epsilon);
  }
};

struct TorchAdaMax : AdaMaxRule<TorchAdaMax> {
  static constexpr RuleSpec kSpec = {
      "TorchAdaMax", {"m", "v"}, "grad", {kBeta1Power, kLr, kBeta1, kBeta2, kEpsilon}, {}};

  template <class T, class V>
  static HWY_INLINE void Step(const AdaMaxCoefficients<T>& c, V g, V& var, V& m, V& v) {
    m = m + (g - m) * c.one_minus_beta1;
    v = FirstMax(c.beta2 * v, Abs(g) + c.epsilon);
    var = var - c.alpha * Quotient(m, v);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
SLOTWISE_DEFINE_RULE(Adam);
SLOTWISE_DEFINE_RULE(AdamWithAmsgrad);
SLOTWISE_DEFINE_RULE(AdaMax);
SLOTWISE_DEFINE_RULE(TorchAdaMax);
}  // namespace slotwise
#endif
