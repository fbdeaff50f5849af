// SPDX-License-Identifier: Apache-2.0
// One update of the variables of a plan: everything is checked and allocated when it is made, so
// that nothing can be refused once `Run` has begun to write. (Kernels that measure whole variables
// still take a few numbers' memory of their own.)
#pragma once

#include <array>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bindings/bags.h"
#include "bindings/clipping.h"
#include "bindings/numbers_by_type.h"
#include "bindings/row_plan.h"
#include "bindings/update_plan.h"
#include "core/row_set.h"
#include "core/scratch.h"

namespace slotwise {

class UpdateStep {
 public:
  // Gradients, arrays or IndexedSlices, are in `pairs`, which match the plan. `hypers` are
  // NumbersByType, `decay` and `average` a DecayAverageArgument. `scope` and `around` say which
  // rows the rule updates, and which are decayed and averaged, where a gradient is sparse.
  // `gradient` is None, or (scale, decay): the rule sees scale * g + decay * var.
  // `together` are the plans of all the steps that are run together: what they write is not read
  // afterwards.
  UpdateStep(const UpdatePlan& plan, const std::vector<const UpdatePlan*>& together,
             const pybind11::list& pairs, const pybind11::object& hypers,
             const pybind11::object& attrs, const Clipping& clipping, const pybind11::object& scope,
             const pybind11::object& decay, const pybind11::object& average,
             const pybind11::object& around, const pybind11::object& gradient);
  UpdateStep(const UpdateStep&) = delete;  // parts point into others
  UpdateStep& operator=(const UpdateStep&) = delete;

  void Run() const;

 private:
  struct DenseItem {
    size_t entry;
    ArrayArgument grad;
  };

  struct SparseItem {
    SparseItem(size_t number, const ArrayArgument& rows_of_gradient, const char* op,
               const char* name, const pybind11::object& indices, int64_t num_rows)
        : entry(number),
          values(rows_of_gradient),
          ids(indices),
          rows(op, name, indices, num_rows) {}

    size_t entry;
    Duplicates duplicates = Duplicates::kSum;
    ArrayArgument values;  // a row for each id; for each bag, if there are bags
    pybind11::object ids;  // kept alive: a plan among them is not copied
    RowsArgument rows;
    std::optional<BagsArgument> bags;
    std::optional<Bags> pooled;          // made of them
    std::optional<RowSet> touched;       // where other rows are swept
    const Deferral* deferral = nullptr;  // or put off
    Motion motion;                       // of the step, then
    Clock::Around around;
    bool is_dense = false;  // the other rows take this step, too
  };

  // A call of the kernels.
  struct Call {
    enum class Of : uint8_t {
      kTensors,  // dense tensors of one dtype
      kTables,   // rows of tables of one dtype
      kBegin,    // what comes before the rows of one sparse item
      kEnd,      // and after: the other rows
      kFlush,    // all rows of the variable of one entry catch up
      kItem      // all of one sparse item, by a gradient that is formed first
    } of;
    DType dtype;
    size_t first, count;                       // of tensors_, of tables_; of sparse_
    Duplicates duplicates = Duplicates::kSum;  // of tables
  };

  void PrepareGradient(size_t i, pybind11::handle grad);
  void PrepareSlices(size_t i, const pybind11::object& values, const pybind11::object& ids,
                     const pybind11::object& bags);
  void PrepareRows();
  // Whether a gradient lies in memory that is written: it has to be read before.
  bool IsWritten(const NamedArray& gradient) const;
  void PrepareDecayAverage(const pybind11::object& decay, const pybind11::object& average);
  void PrepareRule(const pybind11::object& hypers, const pybind11::object& attrs);
  void PrepareTransforms(const Clipping& clipping, const pybind11::object& gradient);
  void PrepareGradientDecay(double scale, double decay);
  void PrepareDeferred(SparseItem& item);
  void BeginItem(const SparseItem& item) const;
  void EndItem(const SparseItem& item) const;
  void FlushEntry(size_t i) const;
  void PrepareCalls();
  void AddDense(size_t first, size_t last);
  void AddSparse(size_t first, size_t last);
  void ReserveFor(SparseItem& item);

  std::vector<std::unique_lock<FairMutex>> LockDeferred() const;
  void RunItem(size_t i) const;
  void RunTables(DType dtype, const SparseTable* tables, size_t count, Duplicates duplicates) const;
  void Sweep(const SparseItem& item) const;
  void UpdateWhole(DType dtype, const ArrayArgument& var, const SparseTable& table) const;

  const ArrayArgument& VarOf(const SparseItem& item) const {
    return plan_.entries()[item.entry].arrays->var();
  }
  // What a sparse item means to the kernels.
  SparseTable TableOf(const SparseItem& item) const;

  // What is done around the update of an entry; null: nothing.
  const DecayAndAverage* DecayAverageOf(size_t entry) const {
    return decay_averages_.empty() || !decay_averages_[entry].any() ? nullptr
                                                                    : &decay_averages_[entry];
  }

  const UpdatePlan& plan_;
  const std::vector<const UpdatePlan*>& together_;
  const Untouched untouched_;
  const bool around_untouched_;
  std::vector<DenseItem> dense_;
  std::deque<SparseItem> sparse_;
  std::vector<GradTransform> transforms_;        // of dense_, then of sparse_; empty: none
  std::vector<DecayAndAverage> decay_averages_;  // of entries; empty: none
  NumbersByType hypers_;
  std::array<bool, kMaxAttrs> attrs_{};
  std::vector<DenseTensor> tensors_;
  std::vector<SparseTable> tables_;
  std::vector<Call> calls_;
  size_t clipped_bytes_ = 0, whole_bytes_ = 0;  // the most that a sparse item takes
  Scratch memory_;
  char *clipped_ = nullptr, *whole_ = nullptr;
  size_t bytes_ = 0;
};

// Runs several steps: `steps` are tuples of a plan and what its `apply` takes. All are checked
// before the first is run.
void ApplyAll(const pybind11::list& steps, const pybind11::object& after, bool only_check);

}  // namespace slotwise
