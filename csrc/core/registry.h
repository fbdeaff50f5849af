// What is known of each update rule: its names, and its drivers for every instruction set.
#pragma once

#include <cstddef>

#include "core/types.h"

namespace slotwise {

// Which values a hyperparameter may take, once rounded to the compute type. NaN is never allowed.
enum class Range {
  kAny,
  kFinite,
  kPositive,
  kPositiveOrScaled,  // > 0, or >= 0 with the rule's attribute (multiply_linear_by_lr) set
  kNonNegative,
  kNotPositive,  // and finite
  kAtMostOne,
  kInteger,
};

// The sparse op of a rule may be stricter than the dense one, as in TensorFlow.
struct Hyper {
  const char* name;
  Range range = Range::kAny;
  Range sparse_range = range;
};

// Names as TensorFlow spells them; unused entries are null. The ops are Apply<name> and
// SparseApply<name>.
struct RuleSpec {
  const char* name;
  const char* slots[kMaxSlots + 1];
  const char* grad;
  Hyper hypers[kMaxHypers + 1];
  const char* attrs[kMaxAttrs + 1];
  bool row_slots = false;  // slots hold one element per row of var
};

constexpr size_t CountSlots(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.slots[n] != nullptr) ++n;
  return n;
}

constexpr size_t CountHypers(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.hypers[n].name != nullptr) ++n;
  return n;
}

constexpr size_t CountAttrs(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.attrs[n] != nullptr) ++n;
  return n;
}

using DenseFunction = void (*)(const DenseCall&);
using SparseFunction = void (*)(const SparseCall&);
using SweepFunction = void (*)(const SweepCall&);

struct RuleEntry {
  RuleSpec spec;
  const DenseFunction* dense;  // all indexed by TargetIndex(); null if there is no dense op
  const SparseFunction* sparse;
  const SweepFunction* sweep;  // null if there is no dense op
};

// The table of rules: one row each, defined by csrc/rules.
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
  ROW(RMSProp)                      \
  ROW(CenteredRMSProp)              \
  ROW(KerasRMSProp)                 \
  ROW(KerasCenteredRMSProp)         \
  ROW(AddSign)                      \
  ROW(PowerSign)                    \
  ROW(Nadam)                        \
  ROW(Lion)                         \
  ROW(RowWiseAdagrad)

#define SLOTWISE_DECLARE_RULE(rule) extern const RuleEntry k##rule;
SLOTWISE_FOR_EACH_RULE(SLOTWISE_DECLARE_RULE)
#undef SLOTWISE_DECLARE_RULE

#define SLOTWISE_ADDRESS_OF_RULE(rule) &k##rule,
constexpr const RuleEntry* kRules[] = {SLOTWISE_FOR_EACH_RULE(SLOTWISE_ADDRESS_OF_RULE)};
#undef SLOTWISE_ADDRESS_OF_RULE

}  // namespace slotwise
