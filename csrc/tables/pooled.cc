// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "core/group_tasks.h"
#include "core/targets.h"
#include "tables/pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/pooled.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "tables/pool-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

PoolFunction PoolOfType(DType dtype) {
  return WithCodec(dtype, [](auto codec) -> PoolFunction {
    if constexpr (std::is_same_v<decltype(codec), F32Codec>) {
      return PoolOfFloat32();
    } else {
      return &PoolBags<decltype(codec)>;
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
namespace {

PoolFunction PoolOf(DType dtype) {
  static constexpr PoolFunction (*kTable[])(DType) = SLOTWISE_TABLE(PoolOfType);
  return kTable[TargetIndex()](dtype);
}

// All tables of one call.
struct PooledTables {
  const PooledCall& call;

  size_t tables() const { return call.table_count; }
  BagCosts Costs(size_t t) const {
    const PooledTable& table = call.tables[t];
    return {table.offsets, table.bags, table.width * SizeOf(table.dtype)};
  }
  void operator()(size_t t, size_t begin, size_t end) const {
    const PooledTable& table = call.tables[t];
    if (table.width > 0) PoolOf(table.dtype)(call.mode, table, begin, end);
  }
};

}  // namespace

void GatherPooled(const PooledCall& call) { RunGroups(PooledTables{call}); }

}  // namespace slotwise
#endif
