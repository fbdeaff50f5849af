// SPDX-License-Identifier: Apache-2.0
// The table of rules. Apart from what a row is (registry.h), so that a rule more compiles one unit
// of kernels, not all.
#pragma once

#include "core/registry.h"

namespace slotwise {

// One row for each rule, defined by csrc/rules.
#define SLOTWISE_FOR_EACH_RULE(ROW) \
  ROW(GradientDescent)              \
  ROW(ProximalGradientDescent)      \
  ROW(Adadelta)                     \
  ROW(Adagrad)                      \
  ROW(AdagradV2)                    \
  ROW(KerasAdagrad)                 \
  ROW(AdagradDA)                    \
  ROW(ProximalAdagrad)              \
  ROW(Ftrl)                         \
  ROW(FtrlV2)                       \
  ROW(Momentum)                     \
  ROW(KerasMomentum)                \
  ROW(Adam)                         \
  ROW(AdamWithAmsgrad)              \
  ROW(AdaMax)                       \
  ROW(TorchAdaMax)                  \
  ROW(RMSProp)                      \
  ROW(CenteredRMSProp)              \
  ROW(KerasRMSProp)                 \
  ROW(KerasCenteredRMSProp)         \
  ROW(TorchRMSProp)                 \
  ROW(TorchCenteredRMSProp)         \
  ROW(AddSign)                      \
  ROW(PowerSign)                    \
  ROW(Rprop)                        \
  ROW(Nadam)                        \
  ROW(Lion)                         \
  ROW(AdaBelief)                    \
  ROW(RAdam)                        \
  ROW(Lamb)                         \
  ROW(Adafactor)                    \
  ROW(TorchAdafactor)               \
  ROW(RowWiseAdagrad)

#define SLOTWISE_DECLARE_RULE(rule) extern const RuleEntry k##rule;
SLOTWISE_FOR_EACH_RULE(SLOTWISE_DECLARE_RULE)
#undef SLOTWISE_DECLARE_RULE

#define SLOTWISE_ADDRESS_OF_RULE(rule) &k##rule,
constexpr const RuleEntry* kRules[] = {SLOTWISE_FOR_EACH_RULE(SLOTWISE_ADDRESS_OF_RULE)};
#undef SLOTWISE_ADDRESS_OF_RULE

}  // namespace slotwise
