// SPDX-License-Identifier: Apache-2.0
#include "core/targets.h"
#include "tables/pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/pooled_float32.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "tables/pool-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

void PoolFloat32(Pooling mode, const PooledTable& table, size_t begin, size_t end) {
  PoolBags<F32Codec>(mode, table, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

PoolFunction PoolOfFloat32() {
  static constexpr PoolFunction kTable[] = SLOTWISE_TABLE(PoolFloat32);
  return kTable[TargetIndex()];
}

}  // namespace slotwise
#endif
