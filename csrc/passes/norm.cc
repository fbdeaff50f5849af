// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/blocks.h"
#include "passes/gradients.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/norm.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct BlockNorm {
  template <class Codec>
  static double Sum(size_t count, const void* data) {
    return SumOf<double>(Squared<Codec>{static_cast<const typename Codec::Stored*>(data)}, count);
  }

  static double Apply(DType dtype, size_t count, const void* data) {
    return WithCodec(dtype, [&](auto codec) HWY_ATTR { return Sum<decltype(codec)>(count, data); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
namespace {

// Elements that are summed at a time. The bits of the sums depend on this number.
constexpr size_t kSummedBlock = 4096;

double SumOfBlock(const Measured& gradient, size_t block) {
  static constexpr double (*kTable[])(DType, size_t, const void*) =
      SLOTWISE_TABLE(BlockNorm::Apply);
  const size_t begin = block * kSummedBlock;
  const size_t count = std::min(kSummedBlock, gradient.count - begin);
  alignas(64) unsigned char copy[kSummedBlock * sizeof(double)];
  const void* const in =
      GradientSpan(gradient.dtype, gradient.grad, gradient.transform, begin, count, copy);
  return kTable[TargetIndex()](gradient.dtype, count, in);
}

}  // namespace

std::vector<double> SumsOfSquares(const std::vector<Measured>& gradients) {
  Blocks blocks;
  for (const Measured& gradient : gradients) {
    blocks.Add((gradient.count + kSummedBlock - 1) / kSummedBlock, gradient.count);
  }
  std::vector<double> sums(blocks.count());
  // Threads are worth their while if each has several blocks' work to do.
  blocks.ForEach(8 * kSummedBlock, [&](size_t i, size_t block, size_t number) {
    sums[number] = SumOfBlock(gradients[i], block);
  });
  return blocks.Totals(sums);
}

}  // namespace slotwise
#endif
