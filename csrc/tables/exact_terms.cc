// SPDX-License-Identifier: Apache-2.0
#include "tables/exact_terms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/threads.h"
#include "passes/row_sums.h"
#include "simd/row.h"

namespace slotwise {
namespace {

// The number of a stored type that is nearest to another; false if it is not finite, or one that
// kernels take for 0.
template <class T>
struct Plain {
  using Stored = T;
  static bool Near(double x, Stored& stored, double& value) {
    stored = static_cast<T>(x);
    value = stored;
    return std::isfinite(value);
  }
};
// Of 16 bits, `kDigits` of them significant, normal from 2^kLowest on.
template <int kDigits, int kLowest, uint32_t kInfinity, bool kHasDenormals>
struct Short {
  using Stored = uint16_t;
  static bool Near(double x, Stored& stored, double& value) {
    if (!std::isfinite(x)) return false;
    constexpr int kStored = kDigits - 1;
    const int exponent = x == 0 ? kLowest : std::max(std::ilogb(x), kLowest);
    const double units = std::nearbyint(std::ldexp(x, kStored - exponent));
    value = std::ldexp(units, exponent - kStored);
    const auto size = static_cast<uint32_t>(std::fabs(units));
    const uint32_t bits = (static_cast<uint32_t>(exponent - kLowest) << kStored) + size;
    stored = static_cast<Stored>(bits | (units < 0 ? 0x8000u : 0u));
    return bits < kInfinity && (kHasDenormals || size == 0 || size >= 1u << kStored);
  }
};
using F16 = Short<11, -14, 0x7C00, true>;
using BF16 = Short<8, -126, 0x7F80, false>;

constexpr size_t kMostTerms = 4;

// What Split returns, if two terms hold all of it, as they nearly always do; else 0. (It has no
// branches, so that compilers can take several numbers at once.)
template <class T>
size_t SplitInTwo(const UnroundedSums& from, size_t width, T* terms) {
  uint64_t is_two = 0, is_more = 0;
  for (size_t i = 0; i < width; ++i) {
    const double sum = from.sums[i], error = from.errors[i];
    const T first = static_cast<T>(sum);
    const double kept = sum - static_cast<double>(first);
    const double rest = kept + error;
    const T second = static_cast<T>(rest);
    terms[i] = first;
    terms[width + i] = second;
    is_two |= static_cast<uint64_t>(rest != 0);
    is_more |= static_cast<uint64_t>(rest - static_cast<double>(second) != 0);  // so is NaN
    is_more |= static_cast<uint64_t>(kept != 0) & static_cast<uint64_t>(error != 0);
    is_more |= from.inexact[i];
  }
  return is_more != 0 ? 0 : is_two + 1;
}

// Writes sum + error as terms, rows of `width` numbers one after the other. Returns how many have
// numbers other than 0, at least 1; 0 if they cannot hold it.
template <class Type>
size_t Split(const UnroundedSums& from, size_t width, void* to) {
  auto* const terms = static_cast<typename Type::Stored*>(to);
  if constexpr (sizeof(typename Type::Stored) > sizeof(uint16_t)) {
    if (const size_t count = SplitInTwo(from, width, terms)) return count;
  }
  size_t most = 1;
  for (size_t i = 0; i < width; ++i) {
    if (from.inexact[i] != 0) return 0;
    double rest = from.sums[i];
    for (size_t t = 0; t < kMostTerms; ++t) {
      double value;
      if (!Type::Near(rest, terms[t * width + i], value)) return 0;
      if (rest != 0) most = std::max(most, t + 1);
      rest -= value;  // exact, as the term is near it
      if (t > 0) continue;
      const double kept = rest, error = from.errors[i];
      rest = kept + error;
      const double added = rest - kept;
      if ((kept - (rest - added)) + (error - added) != 0) return 0;
    }
    if (rest != 0) return 0;
  }
  return most;
}

size_t SplitAs(DType dtype, const UnroundedSums& from, size_t width, void* to) {
  switch (dtype) {
    case DType::kF16:
      return Split<F16>(from, width, to);
    case DType::kBF16:
      return Split<BF16>(from, width, to);
    case DType::kF32:
      return Split<Plain<float>>(from, width, to);
    default:
      return Split<Plain<double>>(from, width, to);
  }
}

}  // namespace

ExactTerms::ExactTerms(const TermsCall& call)
    : call_(call),
      row_bytes_(call.width * SizeOf(call.dtype)),
      counts_(call.count),
      places_(call.count),
      starts_(call.count + 1),
      summed_(call.count) {
  constexpr size_t kFew = 2;  // are not more than a sum and what it leaves
  size_t occurrences = 0;
  for (size_t i = 0; i < call_.count; ++i) {
    counts_[i] = static_cast<uint32_t>(Occurrences(i));
    places_[i] = kNone;
    if (counts_[i] > kFew && call_.width > 0) {
      places_[i] = static_cast<uint32_t>(summed_count_);
      summed_[summed_count_++] = static_cast<uint32_t>(i);
      occurrences += counts_[i];
    }
  }
  if (summed_count_ > 0) {
    const size_t bytes = summed_count_ * kMostTerms * row_bytes_;
    memory_ = Scratch(Scratch::Size<unsigned char>(bytes));
    sums_ = memory_.Take<unsigned char>(bytes);
    const size_t each = occurrences / summed_count_ * row_bytes_;
    ParallelFor({summed_count_, kMinBytesPerThread / (each + 1) + 1, 0, 1}, &SumRange, this);
  }
  starts_[0] = 0;
  for (size_t i = 0; i < call_.count; ++i) starts_[i + 1] = starts_[i] + counts_[i];
}

size_t ExactTerms::Occurrences(size_t i) const {
  const uint32_t group = call_.order[i];
  return call_.groups.offsets[group + 1] - call_.groups.offsets[group];
}

unsigned char* ExactTerms::SumsOf(size_t place) const {
  return sums_ + place * kMostTerms * row_bytes_;
}

void ExactTerms::SumRange(const void* context, size_t begin, size_t end) {
  // (Each range writes the counts of its own groups.)
  auto& self = *static_cast<ExactTerms*>(const_cast<void*>(context));
  const TermsCall& call = self.call_;
  Scratch memory(2 * Scratch::Size<double>(call.width) + Scratch::Size<uint64_t>(call.width));
  auto* const sums = memory.Take<double>(call.width);
  auto* const errors = memory.Take<double>(call.width);
  const UnroundedSums unrounded{sums, errors, memory.Take<uint64_t>(call.width)};
  const RowSumFunction sum = ExactRowSumOf(call.dtype);
  for (size_t place = begin; place < end; ++place) {
    const size_t i = self.summed_[place];
    const size_t count = self.counts_[i];
    const uint32_t* const positions = call.groups.positions + call.groups.offsets[call.order[i]];
    sum({call.gradients, call.width, positions, count, count, nullptr, false, &unrounded});
    const size_t terms = SplitAs(call.dtype, unrounded, call.width, self.SumsOf(place));
    if (terms > 0 && terms < count) {
      self.counts_[i] = static_cast<uint32_t>(terms);
    } else {
      self.places_[i] = kNone;
    }
  }
}

void ExactTerms::Write(void* out) const {
  const std::pair<const ExactTerms*, unsigned char*> context{this,
                                                             static_cast<unsigned char*>(out)};
  const size_t each = rows() / std::max(size_t{1}, call_.count) * row_bytes_;
  ParallelFor({call_.count, kMinBytesPerThread / (each + 1) + 1, 0, 1}, &WriteRange, &context);
}

void ExactTerms::WriteRange(const void* context, size_t begin, size_t end) {
  const auto& [terms, out] =
      *static_cast<const std::pair<const ExactTerms*, unsigned char*>*>(context);
  const TermsCall& call = terms->call_;
  const size_t bytes = terms->row_bytes_;
  const RowSumFunction term_of = RowSumOf(call.dtype);
  const PooledRows* const pooled = call.gradients.pooled;
  const auto* const data = static_cast<const unsigned char*>(call.gradients.data);
  const int64_t stride = call.gradients.stride * static_cast<int64_t>(SizeOf(call.dtype));
  const auto row = [&](size_t position) {
    const size_t number = pooled == nullptr ? position : pooled->bags[position];
    return data + static_cast<int64_t>(number) * stride;
  };
  const auto positions = [&](size_t i) {
    return call.groups.positions + call.groups.offsets[call.order[i]];
  };
  for (size_t i = begin; i < end; ++i) {
    if (i + kRowsAhead < end) {
      PrefetchRow(row(*positions(i + kRowsAhead)), bytes);
    }
    unsigned char* to = out + terms->starts_[i] * bytes;
    const size_t count = terms->counts_[i];
    if (terms->places_[i] != kNone) {
      std::memcpy(to, terms->SumsOf(terms->places_[i]), count * bytes);
      continue;
    }
    for (size_t k = 0; k < count; ++k, to += bytes) {
      const uint32_t* const position = positions(i) + k;
      if (pooled == nullptr) {
        std::memcpy(to, row(*position), bytes);
      } else {
        term_of({call.gradients, call.width, position, 1, 1, to, false});
      }
    }
  }
}

}  // namespace slotwise
