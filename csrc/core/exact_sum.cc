// SPDX-License-Identifier: Apache-2.0
#include "core/exact_sum.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace slotwise {
namespace {

constexpr int kDigitBits = 32;
constexpr int kMantissaBits = 52;
constexpr int kExponentOfUnit = -1074;

}  // namespace

void ExactSum::Add(double term) {
  uint64_t bits;
  std::memcpy(&bits, &term, sizeof(bits));
  const auto exponent = static_cast<int>(bits >> kMantissaBits & 0x7FF);
  if (exponent == 0) return;
  if (exponent == 0x7FF) {
    special_ += term;
    return;
  }
  const uint64_t mantissa = (bits & ((uint64_t{1} << kMantissaBits) - 1)) | uint64_t{1}
                                                                                << kMantissaBits;
  // Its lowest bit counts 2^(exponent - 1) units.
  const auto digit = static_cast<size_t>((exponent - 1) / kDigitBits);
  const int shift = (exponent - 1) % kDigitBits;
  const int64_t sign = bits >> 63 != 0 ? -1 : 1;
  const uint64_t low = mantissa << shift;
  const uint64_t high = shift == 0 ? 0 : mantissa >> (64 - shift);
  digits_[digit] += sign * static_cast<int64_t>(low & 0xFFFFFFFFu);
  digits_[digit + 1] += sign * static_cast<int64_t>(low >> kDigitBits);
  digits_[digit + 2] += sign * static_cast<int64_t>(high);
  constexpr uint32_t kMostAdded = uint32_t{1} << 30;  // 2^62 at most in a digit
  if (++added_ == kMostAdded) {
    Carry(digits_);
    added_ = 0;
  }
}

// Leaves digits of [0, 2^32), except the last one, which has the sign.
void ExactSum::Carry(Digits& digits) {
  for (size_t i = 0; i + 1 < kDigits; ++i) {
    const int64_t low = digits[i] & 0xFFFFFFFF;
    digits[i + 1] += (digits[i] - low) / (int64_t{1} << kDigitBits);
    digits[i] = low;
  }
}

template <class T>
T ExactSum::Rounded(bool to_odd) const {
  if (std::isnan(special_)) return std::numeric_limits<T>::quiet_NaN();
  if (special_ != 0) return static_cast<T>(special_);
  Digits digits = digits_;
  Carry(digits);
  const bool is_negative = digits[kDigits - 1] < 0;
  if (is_negative) {
    for (int64_t& digit : digits) digit = -digit;
    Carry(digits);
  }
  size_t top = kDigits - 1;
  while (top > 0 && digits[top] == 0) --top;

  // The leading digits, of 64 bits and more, and whether anything comes after them.
  const auto at = [&](size_t below) -> uint64_t {
    return top >= below ? static_cast<uint64_t>(digits[top - below]) : 0;
  };
  if (at(0) == 0) return 0;
  const int spare = __builtin_clzll(at(0)) - kDigitBits;
  const uint64_t first = at(0) << kDigitBits | at(1);
  uint64_t leading = first << spare | (spare == 0 ? 0 : at(2) >> (kDigitBits - spare));
  bool has_more = (at(2) << (kDigitBits + spare)) != 0;
  for (size_t below = 3; below <= top; ++below) has_more |= at(below) != 0;
  // leading * 2^exponent, a little more if has_more.
  const int exponent = kExponentOfUnit + kDigitBits * (static_cast<int>(top) - 1) - spare;

  constexpr int kDropped = 64 - std::numeric_limits<T>::digits;
  const uint64_t dropped = leading & ((uint64_t{1} << kDropped) - 1);
  constexpr uint64_t kHalf = uint64_t{1} << (kDropped - 1);
  leading >>= kDropped;
  const bool is_odd = (leading & 1) != 0;
  if (to_odd) {
    leading |= static_cast<uint64_t>(dropped != 0 || has_more);
  } else if (dropped > kHalf || (dropped == kHalf && (has_more || is_odd))) {
    ++leading;
  }
  double size = std::ldexp(static_cast<double>(leading), exponent + kDropped);
  constexpr double kLargest = std::numeric_limits<T>::max();
  if (size > kLargest) size = to_odd ? kLargest : std::numeric_limits<double>::infinity();
  return static_cast<T>(is_negative ? -size : size);
}

template float ExactSum::Rounded<float>(bool) const;
template double ExactSum::Rounded<double>(bool) const;

}  // namespace slotwise
