// SPDX-License-Identifier: Apache-2.0
// One function per target, indexed by TargetIndex(). For files that foreach_target.h compiles once
// per target, in the part that is compiled once.
#pragma once

#include "hwy/highway.h"

#define SLOTWISE_TABLE(function) \
  {nullptr, HWY_CHOOSE_TARGET_LIST(function), HWY_CHOOSE_FALLBACK(function)}
