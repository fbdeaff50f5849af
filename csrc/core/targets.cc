// SPDX-License-Identifier: Apache-2.0
#include "core/targets.h"

#include <atomic>

#include "hwy/highway.h"

namespace slotwise {
namespace {

std::vector<int64_t> Split(int64_t mask) {
  std::vector<int64_t> bits;
  for (; mask != 0; mask &= mask - 1) bits.push_back(mask & ~(mask - 1));
  return bits;  // Highway gives better targets lower bits
}

std::vector<std::string> Names(int64_t mask) {
  std::vector<std::string> names;
  for (int64_t bit : Split(mask)) names.emplace_back(hwy::TargetName(bit));
  return names;
}

int64_t SupportedMask() { return static_cast<int64_t>(hwy::SupportedTargets()) & HWY_TARGETS; }

// Our own choice rather than Highway's process-wide one, which other users of a shared Highway
// library would see change.
struct Choice {
  std::atomic<int64_t> target{0};
  std::atomic<size_t> index{0};

  Choice() { Set(Split(SupportedMask()).front()); }

  void Set(int64_t bit) {
    target = bit;
    hwy::ChosenTarget chosen;
    chosen.Update(bit);
    index = chosen.GetIndex();
  }
};

Choice& TheChoice() {
  static Choice choice;
  return choice;
}

}  // namespace

std::vector<std::string> SupportedTargets() { return Names(SupportedMask()); }

std::vector<std::string> BuiltTargets() { return Names(HWY_TARGETS); }

std::string ActiveTarget() { return hwy::TargetName(TheChoice().target); }

bool SetTarget(const std::string& name) {
  for (int64_t bit : Split(SupportedMask())) {
    if (name.empty() || name == hwy::TargetName(bit)) {
      TheChoice().Set(bit);
      return true;
    }
  }
  return false;
}

size_t TargetIndex() { return TheChoice().index.load(std::memory_order_relaxed); }

std::string HighwayVersion() {
  return std::to_string(HWY_MAJOR) + "." + std::to_string(HWY_MINOR) + "." +
         std::to_string(HWY_PATCH);
}

}  // namespace slotwise
