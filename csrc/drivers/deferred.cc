// SPDX-License-Identifier: Apache-2.0
#include "drivers/deferred.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/scratch.h"
#include "core/targets.h"
#include "core/threads.h"
#include "core/zeros.h"

namespace slotwise {

DeferredTable::DeferredTable(const RuleEntry& rule, const Movement& movement, const Memory& memory)
    : rule_(rule),
      movement_(movement),
      memory_(memory),
      row_bytes_(memory.width * SizeOf(memory.dtype)),
      clock_(movement, memory.slot_count, memory.dtype, memory.average != nullptr,
             memory.whole_rows * row_bytes_) {}

void DeferredTable::Replace(const ByteArrays& arrays, size_t count) const {
  const Kernel kernel = rule_.rows[TargetIndex()](memory_.dtype);
  const size_t element = SizeOf(memory_.dtype), elements = memory_.width * count;
  for (size_t begin = 0; begin < elements; begin += kZeroElements) {
    kernel.update(latest_, arrays.From(kernel.slots, begin * element, kZeros),
                  std::min(kZeroElements, elements - begin));
  }
}

SkippedRow DeferredTable::RowAt(size_t row) const {
  SkippedRow found{};
  found.var = At(memory_.var, row);
  for (size_t i = 0; i < memory_.slot_count; ++i) found.slots[i] = At(memory_.slots[i], row);
  if (memory_.average != nullptr) found.average = At(memory_.average, row);
  return found;
}

void DeferredTable::Skip(int32_t s, const SkippedRow& row, size_t count) const {
  const size_t elements = memory_.width * count;
  SkipOf(memory_.dtype)({clock_, movement_, memory_.slot_count, elements}, s, row);
}

void DeferredTable::CatchUp(size_t row, size_t count) const {
  const int32_t s = memory_.last[row];
  if (s >= clock_.now()) return;
  if (movement_.drift == Drift::kReplaced) {
    if (s >= clock_.replaced_at()) return;
    ByteArrays arrays{};
    arrays.var = At(memory_.var, row);
    for (size_t i = 0; i < memory_.slot_count; ++i) arrays.slots[i] = At(memory_.slots[i], row);
    return Replace(arrays, count);
  }
  SkippedRow skipped = RowAt(row);
  skipped.to_var = At(memory_.var, row);
  for (size_t i = 0; i < memory_.slot_count; ++i) skipped.to_slots[i] = At(memory_.slots[i], row);
  if (memory_.average != nullptr) skipped.to_average = At(memory_.average, row);
  Skip(s, skipped, count);
}

void DeferredTable::ReadRow(size_t row, size_t which, void* to) const {
  void* const array = which == kVar       ? memory_.var
                      : which == kAverage ? memory_.average
                                          : memory_.slots[which];
  const int32_t s = memory_.last[row];
  const bool is_replaced = movement_.drift == Drift::kReplaced;
  // (Slots of a rule that replaces var stay as they are.)
  if (s >= (is_replaced ? clock_.replaced_at() : clock_.now()) || (is_replaced && which != kVar)) {
    std::memcpy(to, At(array, row), row_bytes_);
    return;
  }
  if (is_replaced) {  // in a copy
    const size_t bytes = row_bytes_, all = bytes * (1 + memory_.slot_count);
    alignas(64) unsigned char near[4096];  // rows as long need no memory
    Scratch memory;
    unsigned char* copy = near;
    if (all > sizeof(near)) {
      memory = Scratch(Scratch::Size<unsigned char>(all));
      copy = memory.Take<unsigned char>(all);
    }
    ByteArrays arrays{};
    arrays.var = copy;
    std::memcpy(copy, At(memory_.var, row), bytes);
    for (size_t i = 0; i < memory_.slot_count; ++i) {
      arrays.slots[i] = copy + (i + 1) * bytes;
      std::memcpy(arrays.slots[i], At(memory_.slots[i], row), bytes);
    }
    Replace(arrays, 1);
    std::memcpy(to, copy, bytes);
    return;
  }
  SkippedRow skipped = RowAt(row);
  if (which == kVar) {
    skipped.to_var = to;
    skipped.average = nullptr;  // no need to make its polynomial
  } else if (which == kAverage) {
    skipped.to_average = to;
  } else {
    skipped.to_slots[which] = to;
  }
  Skip(s, skipped);
}

void DeferredTable::Tick(const Motion& motion, const Clock::Around& around, const double* hypers,
                         const bool* attrs) {
  if (movement_.drift == Drift::kReplaced && !motion.is_idle) {
    std::copy_n(hypers, CountHypers(rule_.spec), hypers_.begin());
    std::copy_n(attrs, CountAttrs(rule_.spec), attrs_.begin());
    MakeLatest();
  }
  clock_.Tick(motion, around);
  is_behind_ = true;
}

void DeferredTable::MakeLatest() {
  rule_.rows[TargetIndex()](memory_.dtype).make(hypers_.data(), attrs_.data(), &latest_);
}

// (Rows that follow each other and stand at the same step are as one.)
void DeferredTable::FlushRange(const void* context, size_t begin, size_t end) {
  const auto& self = *static_cast<const DeferredTable*>(context);
  constexpr size_t kAhead = 8;
  int32_t* const last = self.memory_.last;
  for (size_t row = begin; row < end;) {
    size_t next = row + 1;
    while (next < end && last[next] == last[row]) ++next;
    if (next + kAhead < end) self.Fetch(next + kAhead);
    self.CatchUp(row, next - row);
    std::fill(last + row, last + next, 0);
    row = next;
  }
}

void DeferredTable::Flush(const Motion* motion) {
  if (is_behind_) {
    const size_t bytes = std::max<size_t>(1, row_bytes_ * (1 + memory_.slot_count));
    const size_t min_rows = std::max<size_t>(1, kMinBytesPerThread / bytes);
    ParallelFor({memory_.rows, min_rows, 0, 1}, &FlushRange, this);
  }
  clock_.Reset(motion);
  is_behind_ = false;
  ++flushes_;
}

// ----- what is saved -----------------------------------------------------------------------------

// Differs where the numbers of one say nothing to another.
int32_t DeferredTable::Kind() const {
  const auto drift = static_cast<uint32_t>(movement_.drift);
  const auto dtype = static_cast<uint32_t>(memory_.dtype);
  uint32_t hash = drift * 64 + dtype * 2 + (memory_.average != nullptr ? 1 : 0);
  for (const char* c = rule_.spec.name; *c != 0; ++c) {
    hash = (hash ^ static_cast<unsigned char>(*c)) * 16777619U;
  }
  return static_cast<int32_t>(hash >> 1);
}

void DeferredTable::Keep(Record& record) {
  int32_t format = 1, kind = Kind();
  record.Count(&format, 1), record.Count(&kind, std::numeric_limits<int32_t>::max());
  if (format != 1 || kind != Kind()) Record::Refuse();
  bool is_behind = is_behind_;
  record.Flag(&is_behind);
  is_behind_ = is_behind;
  clock_.Keep(record);
  for (size_t i = 0; i < CountHypers(rule_.spec); ++i) record.Number(&hypers_[i]);
  for (size_t i = 0; i < CountAttrs(rule_.spec); ++i) record.Flag(&attrs_[i]);
}

void DeferredTable::Restore(Record& record, const int32_t* last) {
  const Clock before = clock_;
  const auto hypers = hypers_;
  const auto attrs = attrs_;
  const bool was_behind = is_behind_;
  try {
    Keep(record);
    record.RequireEnd();
    const int32_t now = clock_.now();
    const auto is_step = [now](int32_t s) { return s >= 0 && s <= now; };
    if (!is_behind_ && now > 0) Record::Refuse();
    if (!std::all_of(last, last + memory_.rows, is_step)) Record::Refuse();
  } catch (...) {
    clock_ = before;
    hypers_ = hypers, attrs_ = attrs;
    is_behind_ = was_behind;
    throw;
  }
  std::copy_n(last, memory_.rows, memory_.last);
  if (clock_.replaced_at() > 0) MakeLatest();
}

}  // namespace slotwise
