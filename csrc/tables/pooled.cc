// SPDX-License-Identifier: Apache-2.0
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

struct Pools {
  static PoolFunction Of(DType dtype) {
    switch (dtype) {
      case DType::kF16:
        return &PoolBags<F16Codec>;
      case DType::kBF16:
        return &PoolBags<BF16Codec>;
      case DType::kF32:
        return PoolOfFloat32();
      default:
        return &PoolBags<F64Codec>;
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
namespace {

PoolFunction PoolOf(DType dtype) {
  static constexpr PoolFunction (*kTable[])(DType) = SLOTWISE_TABLE(Pools::Of);
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
