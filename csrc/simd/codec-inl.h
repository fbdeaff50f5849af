// SPDX-License-Identifier: Apache-2.0
// How a stored type becomes the type that is computed in: one struct per DType.
//
// float32 and float64 are computed as they are. bfloat16 and float16 are computed in float32 and
// rounded to nearest even once per store; NaN stays a (quiet) NaN.

#if defined(SLOTWISE_SIMD_CODEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_CODEC_INL_H_
#undef SLOTWISE_SIMD_CODEC_INL_H_
#else
#define SLOTWISE_SIMD_CODEC_INL_H_
#endif

#include "core/types.h"
#include "simd/compat-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Two vectors that cover 2 * Lanes(d) consecutive elements, in the order that suits the codec:
// where a codec has pairs, they are cheaper to load and store than one vector after the other.
template <class V>
struct Pair {
  V first, second;
};

// Asks for a pair where a tag `d` asks for a vector.
template <class D>
struct PairTag {};

template <class T>
struct PlainCodec {
  using Stored = T;
  using Compute = T;
  static constexpr bool kHasPairs = false;

  template <class D>
  static HWY_INLINE hn::VFromD<D> Load(D d, const Stored* from) {
    return hn::LoadU(d, from);
  }
  template <class D>
  static HWY_INLINE void Store(D d, hn::VFromD<D> v, Stored* to) {
    hn::StoreU(v, d, to);
  }
};

using F32Codec = PlainCodec<float>;
using F64Codec = PlainCodec<double>;

// 16-bit lanes as the low halves of 32-bit lanes.
template <class D>
HWY_INLINE hn::VFromD<hn::RebindToUnsigned<D>> LoadBits16(D d, const uint16_t* from) {
  const hn::RebindToUnsigned<D> du32;
  const hn::Rebind<uint16_t, D> du16;
  (void)d;
  return hn::PromoteTo(du32, hn::LoadU(du16, from));
}

template <class D>
HWY_INLINE void StoreBits16(D d, hn::VFromD<hn::RebindToUnsigned<D>> bits, uint16_t* to) {
  const hn::RebindToSigned<D> di32;
  const hn::Rebind<uint16_t, D> du16;
  (void)d;
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di32, bits)), du16, to);
}

struct BF16Codec {
  using Stored = uint16_t;
  using Compute = float;
  static constexpr bool kHasPairs = HWY_TARGET != HWY_SCALAR;

  template <class D>
  static HWY_INLINE hn::VFromD<D> Load(D d, const Stored* from) {
    return hn::BitCast(d, hn::ShiftLeft<16>(LoadBits16(d, from)));
  }

  template <class D>
  static HWY_INLINE void Store(D d, hn::VFromD<D> v, Stored* to) {
    StoreBits16(d, hn::ShiftRight<16>(Round(d, v)), to);
  }

  // The elements of even index and those of odd index: no lane moves.
  template <class D>
  static HWY_INLINE Pair<hn::VFromD<D>> Load(PairTag<D>, const Stored* from) {
    const D d;
    const hn::RebindToUnsigned<D> du32;
    const hn::Repartition<uint16_t, D> du16;
    const auto bits = hn::BitCast(du32, hn::LoadU(du16, from));
    const auto odd = hn::And(bits, hn::Set(du32, 0xFFFF0000u));
    return {hn::BitCast(d, hn::ShiftLeft<16>(bits)), hn::BitCast(d, odd)};
  }

  template <class D>
  static HWY_INLINE void Store(PairTag<D>, const Pair<hn::VFromD<D>>& pair, Stored* to) {
    const D d;
    const hn::Repartition<uint16_t, D> du16;
    const auto even = hn::ShiftRight<16>(Round(d, pair.first));
    const auto odd = Round(d, pair.second);
    hn::StoreU(hn::OddEven(hn::BitCast(du16, odd), hn::BitCast(du16, even)), du16, to);
  }

 private:
  // Rounded bits in the upper halves of lanes; the lower ones are anything.
  template <class D>
  static HWY_INLINE hn::VFromD<hn::RebindToUnsigned<D>> Round(D d, hn::VFromD<D> v) {
    const hn::RebindToUnsigned<D> du32;
    (void)d;
    const auto bits = hn::BitCast(du32, v);
    // Ties to even: half an ulp less one, plus the lowest bit that is kept.
    const auto is_odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1u));
    const auto rounded = hn::Add(bits, hn::Add(is_odd, hn::Set(du32, 0x7FFFu)));
    const auto quiet = hn::Or(bits, hn::Set(du32, 0x400000u));
    return hn::IfThenElse(hn::RebindMask(du32, hn::IsNaN(v)), quiet, rounded);
  }
};

struct F16Codec {
  using Stored = uint16_t;
  using Compute = float;
  // Hides latencies, where there are registers for it.
  static constexpr bool kHasPairs = SLOTWISE_NATIVE_F16 && HWY_TARGET <= HWY_AVX3;

#if SLOTWISE_NATIVE_F16
  template <class D>
  static HWY_INLINE hn::VFromD<D> Load(D d, const Stored* from) {
    const hn::Rebind<uint16_t, D> du16;
    const hn::Rebind<hwy::float16_t, D> df16;
    return hn::PromoteTo(d, hn::BitCast(df16, hn::LoadU(du16, from)));
  }

  template <class D>
  static HWY_INLINE void Store(D d, hn::VFromD<D> v, Stored* to) {
    const hn::Rebind<uint16_t, D> du16;
    const hn::Rebind<hwy::float16_t, D> df16;
    (void)d;
    hn::StoreU(hn::BitCast(du16, hn::DemoteTo(df16, v)), du16, to);
  }

  // One vector, and the next one.
  template <class D>
  static HWY_INLINE Pair<hn::VFromD<D>> Load(PairTag<D>, const Stored* from) {
    const D d;
    return {Load(d, from), Load(d, from + hn::Lanes(d))};
  }

  template <class D>
  static HWY_INLINE void Store(PairTag<D>, const Pair<hn::VFromD<D>>& pair, Stored* to) {
    const D d;
    Store(d, pair.first, to);
    Store(d, pair.second, to + hn::Lanes(d));
  }
#else
  // Nowhere is a subnormal float32 an operand: denormals are flushed while kernels run.
  template <class D>
  static HWY_INLINE hn::VFromD<D> Load(D d, const Stored* from) {
    const hn::RebindToUnsigned<D> du32;
    const hn::RebindToSigned<D> di32;
    const auto bits = LoadBits16(d, from);
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du32, 0x8000u)));
    const auto magnitude = hn::And(bits, hn::Set(du32, 0x7FFFu));
    const auto rebias = hn::Set(du32, (127u - 15u) << 23);
    const auto normal = hn::Add(hn::ShiftLeft<13>(magnitude), rebias);
    const auto subnormal = hn::BitCast(
        du32, hn::Mul(hn::ConvertTo(d, hn::BitCast(di32, magnitude)), hn::Set(d, 0x1p-24f)));
    const auto is_nan = hn::Gt(hn::BitCast(di32, magnitude), hn::Set(di32, 0x7C00));
    const auto is_special = hn::Gt(hn::BitCast(di32, magnitude), hn::Set(di32, 0x7BFF));
    const auto is_subnormal = hn::Lt(hn::BitCast(di32, magnitude), hn::Set(di32, 0x0400));
    const auto quiet = hn::IfThenElseZero(hn::RebindMask(du32, is_nan), hn::Set(du32, 1u << 22));
    auto out = hn::IfThenElse(hn::RebindMask(du32, is_subnormal), subnormal, normal);
    out = hn::IfThenElse(hn::RebindMask(du32, is_special), hn::Or(hn::Add(normal, rebias), quiet),
                         out);
    return hn::BitCast(d, hn::Or(out, sign));
  }

  template <class D>
  static HWY_INLINE void Store(D d, hn::VFromD<D> v, Stored* to) {
    const hn::RebindToUnsigned<D> du32;
    const hn::RebindToSigned<D> di32;
    const auto bits = hn::BitCast(du32, v);
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 0x8000u));
    const auto magnitude = hn::And(bits, hn::Set(du32, 0x7FFFFFFFu));
    const auto value = hn::BitCast(d, magnitude);
    const auto as_signed = hn::BitCast(di32, magnitude);

    const auto is_odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du32, 1u));
    const auto rebias = hn::Set(du32, 0xFFFu - ((127u - 15u) << 23));
    const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, is_odd), rebias));
    // The ulp of 0.5 is that of float16 subnormals, so the addition rounds to one.
    const auto half = hn::Set(d, 0.5f);
    const auto subnormal =
        hn::Sub(hn::BitCast(du32, hn::Add(value, half)), hn::BitCast(du32, half));
    const auto nan = hn::Or(hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du32, 0x3FFu)),
                            hn::Set(du32, 0x7E00u));

    const auto is_nan = hn::Gt(as_signed, hn::Set(di32, 0x7F800000));
    const auto is_overflow = hn::Gt(as_signed, hn::Set(di32, 0x477FEFFF));  // rounds to inf
    const auto is_subnormal = hn::Lt(as_signed, hn::Set(di32, 0x38800000));
    auto out = hn::IfThenElse(hn::RebindMask(du32, is_subnormal), subnormal, normal);
    out = hn::IfThenElse(hn::RebindMask(du32, is_overflow), hn::Set(du32, 0x7C00u), out);
    out = hn::IfThenElse(hn::RebindMask(du32, is_nan), nan, out);
    StoreBits16(d, hn::Or(out, sign), to);
  }
#endif
};

// Calls body(codec) with the codec of a dtype.
template <class Body>
auto WithCodec(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF16:
      return body(F16Codec());
    case DType::kBF16:
      return body(BF16Codec());
    case DType::kF32:
      return body(F32Codec());
    default:
      return body(F64Codec());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
