#include <algorithm>

#include "core/gradients.h"
#include "core/targets.h"
#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradients/norm.cc"
#include "hwy/foreach_target.h"
#include "simd/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Stored numbers as float64.
template <class Codec, class D, class Stored>
HWY_INLINE hn::VFromD<D> LoadWide(D d, const Stored* from) {
  if constexpr (sizeof(typename Codec::Compute) == sizeof(double)) {
    return Codec::Load(d, from);
  } else {
    return hn::PromoteTo(d, Codec::Load(hn::Rebind<float, D>(), from));
  }
}

struct BlockNorm {
  // Of 16 interleaved sums, folded in halves: the same order on every target.
  template <class Codec>
  static double Sum(size_t count, const void* data) {
    constexpr size_t kPartials = 16;
    const hn::CappedTag<double, 8> d;
    const hn::CappedTag<double, 1> one;
    const auto* const in = static_cast<const typename Codec::Stored*>(data);
    alignas(64) double partial[kPartials];
    const size_t whole = count / kPartials * kPartials;
    for (size_t lane = 0; lane < kPartials; lane += hn::Lanes(d)) {
      auto sum = hn::Zero(d);
      for (size_t i = lane; i < whole; i += kPartials) {
        FetchAhead(in + i);
        const auto g = LoadWide<Codec>(d, in + i);
        sum = hn::Add(sum, hn::Mul(g, g));
      }
      hn::Store(sum, d, partial + lane);
    }
    for (size_t lane = 0; whole + lane < count; ++lane) {
      const double g = hn::GetLane(LoadWide<Codec>(one, in + whole + lane));
      partial[lane] += g * g;
    }
    for (size_t half = kPartials / 2; half > 0; half /= 2) {
      for (size_t lane = 0; lane < half; ++lane) partial[lane] += partial[lane + half];
    }
    return partial[0];
  }

  static double Apply(DType dtype, size_t count, const void* data) {
    switch (dtype) {
      case DType::kF16:
        return Sum<F16Codec>(count, data);
      case DType::kBF16:
        return Sum<BF16Codec>(count, data);
      case DType::kF32:
        return Sum<F32Codec>(count, data);
      default:
        return Sum<F64Codec>(count, data);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {
namespace {

constexpr size_t kBlock = 4096;  // elements that are summed at a time

size_t Blocks(const Measured& gradient) { return (gradient.count + kBlock - 1) / kBlock; }

struct Blocked {
  const std::vector<Measured>& gradients;
  std::vector<size_t> first;  // number of a gradient's first block
  std::vector<double> sums;   // of blocks
};

double SumOfBlock(const Measured& gradient, size_t block) {
  static constexpr double (*kTable[])(DType, size_t, const void*) =
      SLOTWISE_TABLE(BlockNorm::Apply);
  const size_t begin = block * kBlock;
  const size_t count = std::min(kBlock, gradient.count - begin);
  const StridedArray& grad = gradient.grad;
  if (grad.contiguous && gradient.transform == nullptr) {
    const void* in = static_cast<const unsigned char*>(grad.data) + begin * SizeOf(gradient.dtype);
    return kTable[TargetIndex()](gradient.dtype, count, in);
  }
  alignas(64) unsigned char copy[kBlock * sizeof(double)];
  ReadGradient(gradient.dtype, grad, gradient.transform, begin, count, copy);
  return kTable[TargetIndex()](gradient.dtype, count, copy);
}

void SumBlocks(const void* context, size_t begin, size_t end) {
  auto& blocked = *static_cast<Blocked*>(const_cast<void*>(context));
  const std::vector<size_t>& first = blocked.first;
  auto i = static_cast<size_t>(std::upper_bound(first.begin(), first.end(), begin) - first.begin());
  for (--i; begin < end; ++i) {
    for (; begin < std::min(end, first[i + 1]); ++begin) {
      blocked.sums[begin] = SumOfBlock(blocked.gradients[i], begin - first[i]);
    }
  }
}

}  // namespace

std::vector<double> SumsOfSquares(const std::vector<Measured>& gradients) {
  Blocked blocked{gradients, {0}, {}};
  size_t elements = 0;
  for (const Measured& gradient : gradients) {
    blocked.first.push_back(blocked.first.back() + Blocks(gradient));
    elements += gradient.count;
  }
  const size_t blocks = blocked.first.back();
  blocked.sums.resize(blocks);
  // Threads are worth their while if each has several blocks' work to do.
  constexpr size_t kMinPerThread = 8 * kBlock;
  const size_t min_blocks = std::max(size_t{1}, blocks * kMinPerThread / (elements + 1));
  if (blocks > 0) ParallelFor({blocks, min_blocks, 0, 1}, &SumBlocks, &blocked);
  std::vector<double> sums;
  for (size_t i = 0; i < gradients.size(); ++i) {
    double sum = 0;
    for (size_t b = blocked.first[i]; b < blocked.first[i + 1]; ++b) sum += blocked.sums[b];
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace slotwise
#endif
