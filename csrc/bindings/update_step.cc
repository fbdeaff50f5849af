// SPDX-License-Identifier: Apache-2.0
#include "bindings/update_step.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "bindings/assignments.h"
#include "bindings/choices.h"
#include "bindings/decay_average.h"
#include "bindings/errors.h"
#include "bindings/scalars.h"
#include "passes/gradients.h"
#include "tables/tables.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// What the rule does to the rows that no id names.
Untouched ParseScope(const char* op, const py::object& object) {
  return static_cast<Untouched>(ParseChoice(op, "scope", object, {"rows", "slots", "whole"}, ", "));
}

// Whether these rows are decayed and averaged.
bool ParseAround(const char* op, const py::object& object) {
  return ParseChoice(op, "around", object, {"rows", "whole"}) == 1;
}

// Whether a gradient is IndexedSlices. (A torch tensor has methods of these names.)
bool IsSlices(py::handle grad) {
  return !py::hasattr(grad, "__dlpack__") && py::hasattr(grad, "indices") &&
         py::hasattr(grad, "values");
}

// Whether a gradient is an array, as far as its type tells.
bool IsArray(py::handle grad) { return PyArray_Check(grad.ptr()) != 0 || IsExchanged(grad); }

// Whether it is PooledSlices. (Their values would be formed by asking for them.)
bool IsPooled(py::handle grad) { return py::hasattr(grad, "_bags"); }

// Whether its rows of equal ids are summed as if nothing were rounded before the end.
bool IsExact(py::handle grad) { return py::hasattr(grad, "_is_exact"); }

Measured Measure(const ArrayArgument& gradient) {
  return {gradient.dtype(), gradient.count(), gradient.strided(), nullptr};
}

}  // namespace

UpdateStep::UpdateStep(const UpdatePlan& plan, const std::vector<const UpdatePlan*>& together,
                       const py::list& pairs, const py::object& hypers, const py::object& attrs,
                       const Clipping& clipping, const py::object& scope, const py::object& decay,
                       const py::object& average, const py::object& around,
                       const py::object& gradient)
    : plan_(plan),
      together_(together),
      untouched_(ParseScope(plan.op(), scope)),
      around_untouched_(ParseAround(plan.op(), around)) {
  if (!plan.Matches(pairs)) {
    Fail(PyExc_TypeError, plan.op(), "pairs", "a gradient and a variable of the plan each",
         "others");
  }
  dense_.reserve(plan.entries().size());
  for (size_t i = 0; i < plan.entries().size(); ++i) {
    plan.entries()[i].RequireUnchanged();
    Deferral::RequireNoneBehind(plan.entries()[i].arrays->var(), plan.entries()[i].deferral);
    const PyObject* const pair = PyList_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
    PrepareGradient(i, PyTuple_GET_ITEM(pair, 0));
  }
  PrepareRows();
  PrepareDecayAverage(decay, average);
  PrepareRule(hypers, attrs);
  PrepareTransforms(clipping, gradient);
  PrepareCalls();
}

// ----- what is checked ---------------------------------------------------------------------------

void UpdateStep::PrepareGradient(size_t i, py::handle grad) {
  if (!IsArray(grad)) {
    if (IsPooled(grad)) {
      PrepareSlices(i, grad.attr("grads"), grad.attr("indices"), grad.attr("_bags"));
      if (IsExact(grad)) sparse_.back().duplicates = Duplicates::kExact;
      return;
    }
    if (IsSlices(grad)) {
      PrepareSlices(i, grad.attr("values"), grad.attr("indices"), py::none());
      if (IsExact(grad)) sparse_.back().duplicates = Duplicates::kExact;
      return;
    }
  }
  const UpdatePlan::Entry& entry = plan_.entries()[i];
  const ArrayArgument& var = entry.arrays->var();
  if (plan_.rule().dense == nullptr) {
    Fail(PyExc_TypeError, plan_.op(), entry.grad_name, "IndexedSlices, whose rows are updated",
         "a dense gradient");
  }
  DenseItem& item =
      dense_.emplace_back(DenseItem{i, ArrayArgument(plan_.op(), entry.grad_name, grad, true)});
  item.grad.RequireDTypeOf(var);
  item.grad.RequireShapeOf(var);
  // A gradient is read before anything is written, except one in the very memory of its variable.
  const bool is_var =
      item.grad.IsSameMemoryAs(var) && !plan_.written().has_overlaps() && together_.size() == 1;
  if (!is_var && IsWritten(item.grad)) item.grad.Copy();
  bytes_ += var.bytes() * (2 + entry.arrays->slot_count());
}

void UpdateStep::PrepareSlices(size_t i, const py::object& values_object, const py::object& ids,
                               const py::object& bags) {
  const UpdatePlan::Entry& entry = plan_.entries()[i];
  const ArrayArgument& var = entry.arrays->var();
  ArrayArgument values(plan_.op(), entry.grad_name, values_object);
  values.RequireDTypeOf(var);
  if (var.rank() == 0) {
    Fail(PyExc_ValueError, plan_.op(), entry.grad_name, "an array for a variable of rank 0",
         "IndexedSlices");
  }
  SparseItem& item = sparse_.emplace_back(i, values, plan_.op(), entry.ids_name, ids, var.dim(0));
  item.rows.RequireRankOne();
  if (bags.is_none()) {
    item.rows.RequireRowForEach(item.values, var);
  } else {
    BagsArgument& argument = item.bags.emplace(plan_.op(), " of " + std::string(entry.grad_name),
                                               bags, item.rows.count(), var.dtype());
    argument.RequireGradients(item.values, var);
    if (argument.weights_array() && IsWritten(*argument.weights_array())) {
      argument.weights_array()->Copy();
    }
  }
  if (IsWritten(item.values)) item.values.Copy();
  item.values.MakeRowsContiguous();
  bytes_ += kMinBytesWithoutGil;
}

// The ids of all sparse gradients.
void UpdateStep::PrepareRows() {
  std::vector<RowsArgument*> rows;
  rows.reserve(sparse_.size());
  for (SparseItem& item : sparse_) rows.push_back(&item.rows);
  if (rows.empty()) return;
  RowsArgument::GroupAll(rows);
  for (const SparseItem& item : sparse_) item.rows.RequireNoneSkipped();
}

bool UpdateStep::IsWritten(const NamedArray& gradient) const {
  const auto extent = gradient.Extent();
  return std::any_of(together_.begin(), together_.end(),
                     [&](const UpdatePlan* plan) { return plan->written().Overlaps(extent); });
}

void UpdateStep::PrepareDecayAverage(const py::object& decay, const py::object& average) {
  const DecayAverageArgument argument(plan_.op(), decay, average);
  if (argument.decays() && !plan_.has_decays()) {
    Fail(PyExc_ValueError, plan_.op(), "decay", "None, as the plan has no decays", "numbers");
  }
  if (argument.averages() && !plan_.has_averages()) {
    Fail(PyExc_ValueError, plan_.op(), "average", "None, as the plan has no averages", "numbers");
  }
  if (!argument.decays() && !argument.averages()) return;
  for (const UpdatePlan::Entry& entry : plan_.entries()) {
    const ArrayArgument& var = entry.arrays->var();
    if (argument.averages()) {
      entry.RequireAverageUnchanged();
      bytes_ += var.bytes();
    }
    decay_averages_.push_back(
        argument.For(var.dtype(), entry.decays, entry.average ? entry.average->data() : nullptr));
  }
}

void UpdateStep::PrepareRule(const py::object& hypers, const py::object& attrs) {
  const RuleSpec& spec = plan_.rule().spec;
  const char* const op = plan_.op();
  RequireTuple(op, "attrs", CountAttrs(spec), attrs);
  if (plan_.rule().sparse == nullptr && !sparse_.empty() && untouched_ != Untouched::kAll) {
    Fail(PyExc_ValueError, op, "scope",
         std::string("'whole', since an update by ") + spec.name + " depends on all rows",
         untouched_ == Untouched::kKeep ? "'rows'" : "'slots'");
  }
  if (plan_.rule().dense == nullptr && untouched_ != Untouched::kKeep) {
    Fail(PyExc_ValueError, op, "scope", std::string("'rows': ") + spec.name + " updates no others",
         untouched_ == Untouched::kAll ? "'whole'" : "'slots'");
  }
  if (untouched_ == Untouched::kSlots && !sparse_.empty() && !plan_.rule().sweeps_slots) {
    Fail(PyExc_ValueError, op, "scope",
         std::string("'rows' or 'whole': slots of ") + spec.name + " are not swept alone",
         "'slots'");
  }
  for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
    attrs_[i] =
        ParseAttr(op, spec.attrs[i], PyTuple_GET_ITEM(attrs.ptr(), static_cast<Py_ssize_t>(i)));
  }
  hypers_ = NumbersByType(op, "hypers", spec.hypers, attrs_[0], hypers);
  for (const UpdatePlan::Entry& entry : plan_.entries()) {
    hypers_.Require(entry.arrays->var().dtype());
  }
}

// A step of which the rows that no id names are put off, unless it cannot be.
void UpdateStep::PrepareDeferred(SparseItem& item) {
  const UpdatePlan::Entry& entry = plan_.entries()[item.entry];
  if (entry.deferral == nullptr) return;
  item.deferral = entry.deferral;
  const DType dtype = VarOf(item).dtype();
  item.motion = entry.deferral->MotionOf(hypers_.Of(dtype), attrs_.data());
  const DecayAndAverage* const around = around_untouched_ ? DecayAverageOf(item.entry) : nullptr;
  bool overwrites = false;
  if (around != nullptr) {
    if (around->decays) item.around.decay = around->decay * around->rate;
    if (around->average != nullptr) item.around.momentum = around->kept;
    overwrites = around->average != nullptr && around->overwrites;
  }
  entry.deferral->Require(item.motion);
  DeferredTable& table = entry.deferral->table();
  const std::unique_lock<FairMutex> lock = AloneWith(table.mutex());
  item.is_dense = overwrites || !(item.around.decay < 1) || table.clock().IsCoarse(item.motion);
  if (item.is_dense || table.clock().EndsAt(item.motion, item.around)) return;
  table.clock().Reserve(item.motion, item.around, plan_.entries().size());
}

// What there is to do before the rows of an item are updated, and after.
void UpdateStep::BeginItem(const SparseItem& item) const {
  if (item.deferral == nullptr) return;
  DeferredTable& table = item.deferral->table();
  if (item.is_dense) return table.Flush(&item.motion);
  if (table.clock().EndsAt(item.motion, item.around)) table.Flush(nullptr);
  table.clock().Reserve(item.motion, item.around, 1);
}
void UpdateStep::EndItem(const SparseItem& item) const {
  if (item.touched && VarOf(item).count() > 0) Sweep(item);
  if (item.deferral == nullptr || item.is_dense) return;
  item.deferral->table().Tick(item.motion, item.around, hypers_.Of(VarOf(item).dtype()),
                              attrs_.data());
}

// All rows take a step together.
void UpdateStep::FlushEntry(size_t i) const {
  const Deferral& deferral = *plan_.entries()[i].deferral;
  const Motion motion =
      deferral.MotionOf(hypers_.Of(plan_.entries()[i].arrays->var().dtype()), attrs_.data());
  deferral.table().Flush(&motion);
}

void UpdateStep::PrepareTransforms(const Clipping& clipping, const py::object& gradient) {
  const bool clips = clipping.any(), changes = !gradient.is_none();
  if (clips && changes) {
    Fail(PyExc_ValueError, plan_.op(), "gradient", "None where gradients are clipped", "numbers");
  }
  for (SparseItem& item : sparse_) {
    if (!item.bags) continue;
    if (clips || changes) {  // what is measured or changed is there
      item.values =
          ArrayArgument(plan_.op(), item.values.name(), Expanded(item.values, *item.bags));
      item.bags.reset();
    } else {
      item.pooled.emplace(item.bags->ForGradients({}));
    }
  }
  if (changes) {
    RequireTuple(plan_.op(), "gradient", 2, gradient);
    const auto number = [&](Py_ssize_t i) {
      return ParseHyper(plan_.op(), "gradient", Range::kFinite, false, DType::kF64,
                        PyTuple_GET_ITEM(gradient.ptr(), i));
    };
    PrepareGradientDecay(number(0), number(1));
  }
  if (!clips) return;
  std::vector<Measured> gradients;
  gradients.reserve(dense_.size() + sparse_.size());
  for (const DenseItem& item : dense_) gradients.push_back(Measure(item.grad));
  for (const SparseItem& item : sparse_) gradients.push_back(Measure(item.values));
  transforms_ = Clip(plan_.op(), clipping, std::move(gradients));
}

void UpdateStep::PrepareGradientDecay(double scale, double decay) {
  if (decay != 0 && !sparse_.empty()) {
    Fail(PyExc_ValueError, plan_.op(), plan_.entries()[sparse_.front().entry].grad_name,
         "a dense gradient, to which weight decay is added", "a sparse one");
  }
  transforms_.resize(dense_.size() + sparse_.size());
  for (GradTransform& transform : transforms_) {
    transform.scales = scale != 1;
    transform.scale = scale;
    transform.decay = decay;
  }
  for (size_t i = 0; i < dense_.size() && decay != 0; ++i) {
    transforms_[i].decay_of = plan_.entries()[dense_[i].entry].arrays->var().data();
  }
}

// ----- what is allocated -------------------------------------------------------------------------

void UpdateStep::PrepareCalls() {
  tensors_.reserve(dense_.size());
  for (SparseItem& item : sparse_) {
    PrepareDeferred(item);
    ReserveFor(item);
  }
  if (clipped_bytes_ + whole_bytes_ > 0) {
    memory_ = Scratch(Scratch::Size<char>(clipped_bytes_) + Scratch::Size<char>(whole_bytes_));
    clipped_ = memory_.Take<char>(clipped_bytes_);
    whole_ = memory_.Take<char>(whole_bytes_);
  }
  if (!plan_.written().has_overlaps()) {
    AddDense(0, dense_.size());
    AddSparse(0, sparse_.size());
    return;
  }
  size_t next_dense = 0, next_sparse = 0;  // one after the other, then
  for (size_t i = 0; i < plan_.entries().size(); ++i) {
    if (next_dense < dense_.size() && dense_[next_dense].entry == i) {
      AddDense(next_dense, next_dense + 1);
      ++next_dense;
    } else {
      AddSparse(next_sparse, next_sparse + 1);
      ++next_sparse;
    }
  }
}

void UpdateStep::AddSparse(size_t first, size_t last) {
  if (plan_.rule().sparse == nullptr || !transforms_.empty()) {
    for (size_t i = first; i < last; ++i) {
      if (VarOf(sparse_[i]).count() == 0) continue;
      calls_.push_back({Call::Of::kItem, sparse_[i].values.dtype(), i, 1});
    }
    return;
  }
  const auto each = [&](Call::Of of) {
    for (size_t i = first; i < last; ++i) {
      const bool sweeps = sparse_[i].touched && VarOf(sparse_[i]).count() > 0;
      if (!sweeps && sparse_[i].deferral == nullptr) continue;
      calls_.push_back({of, sparse_[i].values.dtype(), i, 1});
    }
  };
  each(Call::Of::kBegin);
  for (const Duplicates duplicates : {Duplicates::kSum, Duplicates::kExact}) {
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
      const size_t begin = tables_.size();
      for (size_t i = first; i < last; ++i) {
        const SparseItem& item = sparse_[i];
        const ArrayArgument& var = VarOf(item);
        if (item.duplicates != duplicates || var.dtype() != dtype || var.count() == 0) continue;
        tables_.push_back(TableOf(item));
      }
      if (tables_.size() > begin) {
        calls_.push_back({Call::Of::kTables, dtype, begin, tables_.size() - begin, duplicates});
      }
    }
  }
  each(Call::Of::kEnd);
}

void UpdateStep::AddDense(size_t first, size_t last) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
    const size_t begin = tensors_.size();
    size_t elements = 0;
    for (size_t i = first; i < last; ++i) {
      const Updated& arrays = *plan_.entries()[dense_[i].entry].arrays;
      const ArrayArgument& var = arrays.var();
      if (var.dtype() != dtype) continue;
      if (plan_.entries()[dense_[i].entry].deferral != nullptr) {
        calls_.push_back({Call::Of::kFlush, dtype, dense_[i].entry, 1});
      }
      DenseTensor& tensor = tensors_.emplace_back();
      tensor.first = elements;
      tensor.count = var.count();
      tensor.var = var.data();
      arrays.GetSlots(tensor.slots);
      tensor.grad = dense_[i].grad.strided();
      tensor.transform = transforms_.empty() ? nullptr : &transforms_[i];
      tensor.decay_average = DecayAverageOf(dense_[i].entry);
      elements += tensor.count;
    }
    if (elements == 0) {
      tensors_.resize(begin);
    } else {
      calls_.push_back({Call::Of::kTensors, dtype, begin, tensors_.size() - begin});
    }
  }
}

void UpdateStep::ReserveFor(SparseItem& item) {
  const ArrayArgument& var = VarOf(item);
  if (!transforms_.empty()) clipped_bytes_ = std::max(clipped_bytes_, item.values.bytes());
  if (plan_.rule().sparse == nullptr) {
    whole_bytes_ = std::max(whole_bytes_, var.bytes());
  } else if ((item.deferral == nullptr || item.is_dense) &&
             (untouched_ != Untouched::kKeep ||
              (around_untouched_ && DecayAverageOf(item.entry) != nullptr))) {
    item.touched.emplace(static_cast<size_t>(var.dim(0)), item.rows.groups().view());
  }
}

// ----- what is run -------------------------------------------------------------------------------

void UpdateStep::Run() const {
  std::optional<py::gil_scoped_release> release;
  if (bytes_ >= kMinBytesWithoutGil) release.emplace();
  const std::vector<std::unique_lock<FairMutex>> locks = LockDeferred();
  for (const Call& call : calls_) {
    switch (call.of) {
      case Call::Of::kTensors:
        plan_.rule().dense[TargetIndex()](DenseCall{call.dtype, call.count, &tensors_[call.first],
                                                    hypers_.Of(call.dtype), attrs_.data()});
        break;
      case Call::Of::kTables:
        RunTables(call.dtype, &tables_[call.first], call.count, call.duplicates);
        break;
      case Call::Of::kBegin:
        BeginItem(sparse_[call.first]);
        break;
      case Call::Of::kEnd:
        EndItem(sparse_[call.first]);
        break;
      case Call::Of::kFlush:
        FlushEntry(call.first);
        break;
      case Call::Of::kItem:
        RunItem(call.first);
    }
  }
}

// Alone with all that is put off: whoever reads rows sees them before the step or after.
std::vector<std::unique_lock<FairMutex>> UpdateStep::LockDeferred() const {
  std::vector<FairMutex*> mutexes;
  for (const UpdatePlan::Entry& entry : plan_.entries()) {
    if (entry.deferral != nullptr) mutexes.push_back(&entry.deferral->table().mutex());
  }
  std::sort(mutexes.begin(), mutexes.end());
  mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
  std::vector<std::unique_lock<FairMutex>> locks;
  locks.reserve(mutexes.size());
  for (FairMutex* const mutex : mutexes) locks.push_back(AloneWith(*mutex));
  return locks;
}

SparseTable UpdateStep::TableOf(const SparseItem& item) const {
  const ArrayArgument& var = VarOf(item);
  SparseTable table{};
  table.width = var.width();
  table.var = var.data();
  plan_.entries()[item.entry].arrays->GetSlots(table.slots);
  table.gradients = {item.values.data(), item.values.RowStride(),
                     item.pooled ? &item.pooled->view() : nullptr};
  table.groups = item.rows.groups().view();
  table.decay_average = DecayAverageOf(item.entry);
  if (item.deferral != nullptr && !item.is_dense) table.deferred = &item.deferral->table();
  return table;
}

void UpdateStep::RunTables(DType dtype, const SparseTable* tables, size_t count,
                           Duplicates duplicates) const {
  plan_.rule().sparse[TargetIndex()](
      SparseCall{dtype, count, tables, duplicates, hypers_.Of(dtype), attrs_.data()});
}

void UpdateStep::RunItem(size_t i) const {
  const SparseItem& item = sparse_[i];
  const DType dtype = item.values.dtype();
  SparseTable table = TableOf(item);
  if (!transforms_.empty()) {
    ReadGradient(dtype, item.values.strided(), &transforms_[dense_.size() + i], 0,
                 item.values.count(), clipped_);
    table.gradients = {clipped_, static_cast<int64_t>(table.width), nullptr};
  }
  if (plan_.rule().sparse == nullptr) return UpdateWhole(dtype, VarOf(item), table);
  BeginItem(item);
  RunTables(dtype, &table, 1, item.duplicates);
  EndItem(item);
}

void UpdateStep::Sweep(const SparseItem& item) const {
  const SparseTable table = TableOf(item);
  SweepCall sweep{};
  sweep.dtype = item.values.dtype();
  sweep.rows = static_cast<size_t>(VarOf(item).dim(0));
  sweep.width = table.width;
  sweep.var = table.var;
  std::copy_n(table.slots, kMaxSlots, sweep.slots);
  sweep.except = &*item.touched;
  sweep.untouched = untouched_;
  sweep.hypers = hypers_.Of(sweep.dtype);
  sweep.attrs = attrs_.data();
  sweep.decay_average = around_untouched_ ? table.decay_average : nullptr;
  plan_.rule().sweep[TargetIndex()](sweep);
}

// The dense update by the gradient that the rows of a sparse one stand for: equal ids summed in
// order, other rows 0.
void UpdateStep::UpdateWhole(DType dtype, const ArrayArgument& var,
                             const SparseTable& table) const {
  SparseTable sum = table;
  sum.decay_average = nullptr;
  sum.var = std::memset(whole_, 0, var.bytes());
  ScatterFloats(Scatter::kAdd, {dtype, 1, &sum, Duplicates::kSum, nullptr, nullptr});
  DenseTensor tensor{};
  tensor.count = var.count();
  tensor.var = table.var;
  std::copy_n(table.slots, kMaxSlots, tensor.slots);
  tensor.decay_average = table.decay_average;
  tensor.grad = var.strided();
  tensor.grad.data = sum.var;
  plan_.rule().dense[TargetIndex()](DenseCall{dtype, 1, &tensor, hypers_.Of(dtype), attrs_.data()});
}

void ApplyAll(const py::list& steps, const py::object& after, bool only_check) {
  std::vector<const UpdatePlan*> plans;
  for (const py::handle item : steps) {
    RequireTuple("apply_all", "steps", 12, item);
    plans.push_back(&py::handle(PyTuple_GET_ITEM(item.ptr(), 0)).cast<const UpdatePlan&>());
  }
  if (plans.empty()) return;
  const Assignments assignments(plans.front()->op(), after);
  std::deque<UpdateStep> prepared;
  for (size_t i = 0; i < plans.size(); ++i) {
    const auto fields = py::reinterpret_borrow<py::tuple>(py::object(steps[i]));
    prepared.emplace_back(
        *plans[i], plans, py::list(fields[1]), py::object(fields[2]), py::object(fields[3]),
        Clipping{py::object(fields[4]), py::object(fields[5]), py::object(fields[6])},
        py::object(fields[7]), py::object(fields[8]), py::object(fields[9]), py::object(fields[10]),
        py::object(fields[11]));
  }
  if (only_check) return;
  for (const UpdateStep& step : prepared) step.Run();
  assignments.Write();
}

}  // namespace slotwise
