// UpdatePlan: a list of variables with their slots, checked once, that one call updates by one
// rule.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/operands.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "core/gradients.h"
#include "core/row_set.h"
#include "core/scratch.h"
#include "core/tables.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// What a sparse update does to the rows that no id names: the names in Python are these.
enum class Untouched { kKeep, kSlots, kAll };

Untouched ParseUntouched(const char* op, const std::string& text) {
  if (text == "rows") return Untouched::kKeep;
  if (text == "slots") return Untouched::kSlots;
  if (text == "whole") return Untouched::kAll;
  Fail(PyExc_ValueError, op, "scope", "'rows', 'slots' or 'whole'", "'" + text + "'");
}

// Memory that an update writes, as disjoint intervals in ascending order.
class WrittenMemory {
 public:
  using Interval = std::pair<const char*, const char*>;

  explicit WrittenMemory(std::vector<Interval> intervals) {
    std::sort(intervals.begin(), intervals.end());
    for (const Interval& next : intervals) {
      if (next.first == next.second) continue;
      if (!merged_.empty() && next.first < merged_.back().second) {
        has_overlaps_ = true;
        merged_.back().second = std::max(merged_.back().second, next.second);
      } else {
        merged_.push_back(next);
      }
    }
  }

  bool has_overlaps() const { return has_overlaps_; }

  bool Overlaps(const Interval& memory) const {
    if (memory.first == memory.second) return false;
    const auto after = std::upper_bound(merged_.begin(), merged_.end(), memory.first, &IsBefore);
    if (after != merged_.end() && after->first < memory.second) return true;
    return after != merged_.begin() && memory.first < std::prev(after)->second;
  }

 private:
  static bool IsBefore(const char* address, const Interval& interval) {
    return address < interval.first;
  }

  std::vector<Interval> merged_;
  bool has_overlaps_ = false;
};

struct Clipping {
  py::object value, norm, global_norm;  // None: not clipped that way

  bool any() const { return !(value.is_none() && norm.is_none() && global_norm.is_none()); }
};

// Keras's formulas, in the type that gradients are computed in.
template <class T>
void SetNorm(T norm, T limit, GradTransform& transform) {
  transform.normalizes = true;
  transform.numerator = limit;
  transform.denominator = norm < limit ? limit : norm;  // NaN stays NaN
}
template <class T>
void SetScale(T norm, T limit, GradTransform& transform) {
  transform.scales = true;
  transform.scale = limit * std::min(1 / norm, 1 / limit) + (norm - norm);
}

// The transforms of gradients that amount to clipping by value, then by norm, then by global norm.
std::vector<GradTransform> Clip(const char* op, const Clipping& clipping,
                                std::vector<Measured> gradients) {
  std::vector<GradTransform> transforms(gradients.size());
  const auto number = [&](const char* name, const py::object& value) {
    return ParseHyper(op, name, Range::kAny, false, DType::kF64, value);
  };
  const bool by_norm = !clipping.norm.is_none(), by_global = !clipping.global_norm.is_none();
  const double norm_limit = by_norm ? std::max(0.0, number("clipnorm", clipping.norm)) : 0;
  const double global_limit = by_global ? number("global_clipnorm", clipping.global_norm) : 0;
  if (!clipping.value.is_none()) {
    const double limit = number("clipvalue", clipping.value);
    for (GradTransform& transform : transforms) {
      transform.clamps = true;
      transform.limit = limit;
    }
  }
  if (!by_norm && !by_global) return transforms;
  const py::gil_scoped_release release;
  const auto measure = [&] {
    for (size_t i = 0; i < gradients.size(); ++i) {
      gradients[i].transform = transforms[i].any() ? &transforms[i] : nullptr;
    }
    return SumsOfSquares(gradients);
  };
  if (by_norm) {
    const std::vector<double> sums = measure();
    for (size_t i = 0; i < sums.size(); ++i) {
      const double norm = std::sqrt(sums[i]);
      if (gradients[i].dtype == DType::kF64) {
        SetNorm<double>(norm, norm_limit, transforms[i]);
      } else {
        SetNorm<float>(static_cast<float>(norm), static_cast<float>(norm_limit), transforms[i]);
      }
    }
  }
  if (by_global) {
    double sum = 0;
    for (const double part : measure()) sum += part;
    const double norm = std::sqrt(sum);
    for (size_t i = 0; i < transforms.size(); ++i) {
      if (gradients[i].dtype == DType::kF64) {
        SetScale<double>(norm, global_limit, transforms[i]);
      } else {
        SetScale<float>(static_cast<float>(norm), static_cast<float>(global_limit), transforms[i]);
      }
    }
  }
  return transforms;
}

size_t ComputeIndex(DType dtype) { return dtype == DType::kF64 ? 1 : 0; }

const RuleEntry& FindRule(const std::string& name) {
  for (const RuleEntry* rule : kRules) {
    if (name == rule->spec.name && rule->dense != nullptr) return *rule;
  }
  Fail(PyExc_ValueError, "UpdatePlan", "rule", "the name of a rule with a dense op", name);
}

class UpdatePlan {
 public:
  // `entries` are tuples (key, name, var, slots...), the slots in the order of the rule's.
  UpdatePlan(const std::string& op, const std::string& rule, const py::list& entries)
      : op_(op), rule_(FindRule(rule)), written_({}) {
    std::vector<WrittenMemory::Interval> intervals;
    for (const py::handle item : entries) {
      const auto fields = py::cast<py::tuple>(item);
      const size_t slot_count = CountSlots(rule_.spec);
      if (fields.size() != 3 + slot_count) {
        Fail(PyExc_ValueError, op_.c_str(), "entries",
             std::to_string(3 + slot_count) + " fields each", std::to_string(fields.size()));
      }
      const std::string& var_name = Keep(Text(fields[1]));
      const std::string& grad_name = Keep("gradient of " + var_name);
      std::vector<PyObject*> args;
      for (size_t i = 2; i < fields.size(); ++i) args.push_back(fields[i].ptr());
      entries_.push_back(
          Entry{py::reinterpret_borrow<py::object>(fields[0]), grad_name.c_str(),
                std::make_unique<Updated>(op_.c_str(), rule_.spec, var_name.c_str(), args.data())});
      const Updated& arrays = *entries_.back().arrays;
      intervals.push_back(arrays.var().Extent());
      for (size_t i = 0; i < slot_count; ++i) intervals.push_back(arrays.slot(i).Extent());
    }
    written_ = WrittenMemory(std::move(intervals));
  }

  // Whether `pairs`, a list of tuples, are gradients of just these variables, none of them None.
  bool Matches(const py::list& pairs) const {
    if (pairs.size() != entries_.size()) return false;
    for (size_t i = 0; i < entries_.size(); ++i) {
      PyObject* const pair = PyList_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
      if (PyTuple_Check(pair) == 0 || PyTuple_GET_SIZE(pair) != 2) return false;
      if (PyTuple_GET_ITEM(pair, 1) != entries_[i].key.ptr()) return false;
      if (PyTuple_GET_ITEM(pair, 0) == Py_None) return false;
    }
    return true;
  }

  // Updates every variable by its gradient, an array or IndexedSlices, in `pairs` that match.
  //
  // `hypers` are those of float32 (and 16-bit types) and of float64, None for a type that no
  // variable has.
  void Apply(const py::list& pairs, const py::tuple& hypers, const py::tuple& attrs,
             const py::object& clipvalue, const py::object& clipnorm,
             const py::object& global_clipnorm, const std::string& scope) const {
    if (!Matches(pairs)) {
      Fail(PyExc_TypeError, op_.c_str(), "pairs", "a gradient and a variable of the plan each",
           "others");
    }
    Step step(*this);
    for (size_t i = 0; i < entries_.size(); ++i) {
      const PyObject* const pair = PyList_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
      step.TakeGradient(i, PyTuple_GET_ITEM(pair, 0));
    }
    step.Prepare(hypers, attrs, {clipvalue, clipnorm, global_clipnorm},
                 ParseUntouched(op_.c_str(), scope));
    step.Run();
  }

 private:
  struct Entry {
    py::object key;
    const char* grad_name;
    std::unique_ptr<Updated> arrays;
  };

  struct DenseItem {
    size_t entry;
    ArrayArgument grad;
  };

  struct SparseItem {
    SparseItem(size_t number, const ArrayArgument& rows_of_gradient, const char* op,
               const char* name, const py::object& indices, int64_t num_rows)
        : entry(number),
          values(rows_of_gradient),
          ids(indices),
          rows(op, name, indices, num_rows, Bounds::kRaise) {}
    SparseItem(const SparseItem&) = delete;  // `rows` points into itself
    SparseItem& operator=(const SparseItem&) = delete;

    size_t entry;
    ArrayArgument values;
    py::object ids;  // kept alive: a plan among them is not copied
    RowsArgument rows;
  };

  // One call of Apply.
  class Step {
   public:
    explicit Step(const UpdatePlan& plan) : plan_(plan) { dense_.reserve(plan.entries_.size()); }

    // Checks the gradient of an entry.
    void TakeGradient(size_t i, py::handle grad) {
      const Entry& entry = plan_.entries_[i];
      const ArrayArgument& var = entry.arrays->var();
      const char* const op = plan_.op_.c_str();
      var.RequireUpdatable();
      for (size_t s = 0; s < entry.arrays->slot_count(); ++s) {
        entry.arrays->slot(s).RequireUpdatable();
      }
      // (A torch tensor has methods of these names.)
      const bool is_slices = PyArray_Check(grad.ptr()) == 0 && !py::hasattr(grad, "__dlpack__") &&
                             py::hasattr(grad, "indices") && py::hasattr(grad, "values");
      if (is_slices) {
        TakeSlices(i, py::object(grad.attr("values")), py::object(grad.attr("indices")));
        return;
      }
      DenseItem& item = dense_.emplace_back(DenseItem{i, ArrayArgument(op, entry.grad_name, grad)});
      item.grad.RequireDTypeOf(var);
      item.grad.RequireShapeOf(var);
      // A gradient is read before anything is written, but for the very memory of its variable.
      const bool is_var = item.grad.IsSameMemoryAs(var) && !plan_.written_.has_overlaps();
      if (!is_var && plan_.written_.Overlaps(item.grad.Extent())) item.grad.Copy();
      bytes_ += var.bytes() * (2 + entry.arrays->slot_count());
    }

    void Prepare(const py::tuple& hypers, const py::tuple& attrs, const Clipping& clipping,
                 Untouched untouched) {
      untouched_ = untouched;
      const RuleSpec& spec = plan_.rule_.spec;
      const char* const op = plan_.op_.c_str();
      if (plan_.rule_.sparse == nullptr && !sparse_.empty() && untouched != Untouched::kAll) {
        Fail(PyExc_ValueError, op, "scope",
             std::string("'whole', since an update by ") + spec.name + " depends on all rows",
             untouched == Untouched::kKeep ? "'rows'" : "'slots'");
      }
      for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
        attrs_[i] = ParseAttr(op, spec.attrs[i], py::object(attrs[i]));
      }
      for (size_t i = 0; i < 2; ++i) {
        if (hypers[i].is_none()) continue;
        const auto values = py::cast<py::tuple>(hypers[i]);
        if (values.size() != CountHypers(spec)) {
          Fail(PyExc_ValueError, op, "hypers", std::to_string(CountHypers(spec)) + " numbers",
               std::to_string(values.size()));
        }
        std::vector<PyObject*> args;
        for (const py::handle value : values) args.push_back(value.ptr());
        hypers_[i] = ParseHypers(op, spec, /*is_sparse=*/false, attrs_[0],
                                 i == 0 ? DType::kF32 : DType::kF64, args.data());
        has_hypers_[i] = true;
      }
      for (const Entry& entry : plan_.entries_) {
        if (has_hypers_[ComputeIndex(entry.arrays->var().dtype())]) continue;
        Fail(PyExc_ValueError, op, "hypers", "numbers for every dtype of a variable", "None");
      }
      if (!clipping.any()) return;
      std::vector<Measured> gradients;
      for (const DenseItem& item : dense_) gradients.push_back(Measure(item.grad));
      for (const SparseItem& item : sparse_) gradients.push_back(Measure(item.values));
      transforms_ = Clip(op, clipping, std::move(gradients));
    }

    void Run() const {
      std::optional<py::gil_scoped_release> release;
      if (bytes_ >= kMinBytesUnattended) release.emplace();
      if (plan_.written_.has_overlaps()) {  // one after the other, then
        size_t next_dense = 0, next_sparse = 0;
        for (size_t i = 0; i < plan_.entries_.size(); ++i) {
          if (next_dense < dense_.size() && dense_[next_dense].entry == i) {
            UpdateDense(next_dense, next_dense + 1);
            ++next_dense;
          } else {
            UpdateSparse(next_sparse++);
          }
        }
        return;
      }
      UpdateDense(0, dense_.size());
      for (size_t i = 0; i < sparse_.size(); ++i) UpdateSparse(i);
    }

   private:
    static Measured Measure(const ArrayArgument& gradient) {
      return {gradient.dtype(), gradient.count(), gradient.strided(), nullptr};
    }

    void TakeSlices(size_t i, const py::object& values_object, const py::object& ids) {
      const Entry& entry = plan_.entries_[i];
      const ArrayArgument& var = entry.arrays->var();
      const char* const op = plan_.op_.c_str();
      ArrayArgument values(op, entry.grad_name, values_object);
      values.RequireDTypeOf(var);
      if (var.rank() == 0) {
        Fail(PyExc_ValueError, op, entry.grad_name, "an array for a variable of rank 0",
             "IndexedSlices");
      }
      SparseItem& item = sparse_.emplace_back(i, values, op, entry.grad_name, ids, var.dim(0));
      item.rows.RequireRankOne();
      item.rows.RequireNoneSkipped();
      std::vector<npy_intp> shape(PyArray_DIMS(var.array()),
                                  PyArray_DIMS(var.array()) + var.rank());
      shape[0] = static_cast<npy_intp>(item.rows.count());
      item.values.RequireShape(shape, ", a row for each of indices");
      if (plan_.written_.Overlaps(item.values.Extent())) item.values.Copy();
      item.values.MakeRowsContiguous();
      bytes_ += kMinBytesUnattended;
    }

    void UpdateDense(size_t begin, size_t end) const {
      std::vector<DenseTensor> tensors;
      tensors.reserve(end - begin);
      for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
        size_t first = 0;
        tensors.clear();
        for (size_t i = begin; i < end; ++i) {
          const Updated& arrays = *plan_.entries_[dense_[i].entry].arrays;
          const ArrayArgument& var = arrays.var();
          if (var.dtype() != dtype) continue;
          DenseTensor& tensor = tensors.emplace_back();
          tensor.first = first;
          tensor.count = var.count();
          tensor.var = var.data();
          arrays.GetSlots(tensor.slots);
          tensor.grad = dense_[i].grad.strided();
          tensor.transform = transforms_.empty() ? nullptr : &transforms_[i];
          first += tensor.count;
        }
        if (first == 0) continue;
        plan_.rule_.dense[TargetIndex()](
            DenseCall{dtype, tensors.size(), tensors.data(), HypersOf(dtype), attrs_.data()});
      }
    }

    void UpdateSparse(size_t i) const {
      const SparseItem& item = sparse_[i];
      const Updated& arrays = *plan_.entries_[item.entry].arrays;
      const ArrayArgument& var = arrays.var();
      if (var.count() == 0) return;
      SparseCall call{};
      call.dtype = var.dtype();
      call.width = var.count() / static_cast<size_t>(var.dim(0));
      call.var = var.data();
      arrays.GetSlots(call.slots);
      call.grad = item.values.data();
      call.grad_stride = item.values.RowStride();
      call.groups = item.rows.groups().view();
      call.sum = true;
      call.hypers = HypersOf(call.dtype);
      call.attrs = attrs_.data();
      std::unique_ptr<char[]> clipped;
      if (!transforms_.empty()) {
        const size_t count = item.values.count();
        clipped.reset(new char[item.values.bytes()]);
        ReadGradient(call.dtype, item.values.strided(), &transforms_[dense_.size() + i], 0, count,
                     clipped.get());
        call.grad = clipped.get();
        call.grad_stride = static_cast<int64_t>(call.width);
      }
      if (plan_.rule_.sparse == nullptr) return UpdateWhole(var, call);
      if (call.groups.groups > 0) plan_.rule_.sparse[TargetIndex()](call);
      if (untouched_ == Untouched::kKeep) return;
      SweepCall sweep{};
      sweep.dtype = call.dtype;
      sweep.rows = static_cast<size_t>(var.dim(0));
      sweep.width = call.width;
      sweep.var = call.var;
      std::copy_n(call.slots, kMaxSlots, sweep.slots);
      const RowSet touched(sweep.rows, call.groups);
      sweep.except = &touched;
      sweep.slots_only = untouched_ == Untouched::kSlots;
      sweep.hypers = call.hypers;
      sweep.attrs = call.attrs;
      plan_.rule_.sweep[TargetIndex()](sweep);
    }

    // The dense update by the gradient that the rows of a sparse one stand for: equal ids summed in
    // order, other rows 0.
    void UpdateWhole(const ArrayArgument& var, const SparseCall& call) const {
      Scratch memory(var.bytes());
      SparseCall sum = call;
      sum.var = std::memset(memory.Take<char>(var.bytes()), 0, var.bytes());
      ScatterFloats(Scatter::kAdd, sum);
      DenseTensor tensor{};
      tensor.count = var.count();
      tensor.var = call.var;
      std::copy_n(call.slots, kMaxSlots, tensor.slots);
      tensor.grad = var.strided();
      tensor.grad.data = sum.var;
      plan_.rule_.dense[TargetIndex()](DenseCall{call.dtype, 1, &tensor, call.hypers, call.attrs});
    }

    const double* HypersOf(DType dtype) const { return hypers_[ComputeIndex(dtype)].data(); }

    const UpdatePlan& plan_;
    std::vector<DenseItem> dense_;
    std::deque<SparseItem> sparse_;
    std::vector<GradTransform> transforms_;  // of dense_, then of sparse_; empty: none
    std::array<std::array<double, kMaxHypers>, 2> hypers_{};
    std::array<bool, 2> has_hypers_{};
    std::array<bool, kMaxAttrs> attrs_{};
    Untouched untouched_ = Untouched::kKeep;
    size_t bytes_ = 0;
  };

  const std::string& Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  std::string op_;
  const RuleEntry& rule_;
  std::deque<std::string> texts_;  // names in errors; their addresses stay
  std::vector<Entry> entries_;
  WrittenMemory written_;
};

// New arrays: the gradients, clipped as UpdatePlan.apply does it.
py::list ClipGradients(const py::list& gradients, const py::object& clipvalue,
                       const py::object& clipnorm, const py::object& global_clipnorm) {
  constexpr const char* kOp = "clip";
  std::vector<ArrayArgument> arrays;
  std::vector<Measured> measured;
  for (const py::handle gradient : gradients) {
    const ArrayArgument& array = arrays.emplace_back(kOp, "gradient", gradient);
    measured.push_back({array.dtype(), array.count(), array.strided(), nullptr});
  }
  const auto transforms = Clip(kOp, {clipvalue, clipnorm, global_clipnorm}, measured);
  py::list clipped;
  for (size_t i = 0; i < arrays.size(); ++i) {
    ArrayArgument out = arrays[i];
    out.Copy();
    ReadGradient(out.dtype(), arrays[i].strided(), &transforms[i], 0, out.count(), out.data());
    clipped.append(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(out.array())));
  }
  return clipped;
}

}  // namespace

void BindUpdatePlan(py::module_& module) {
  py::class_<UpdatePlan>(module, "UpdatePlan")
      .def(py::init<const std::string&, const std::string&, const py::list&>(), py::arg("op"),
           py::arg("rule"), py::arg("entries"))
      .def("matches", &UpdatePlan::Matches)
      .def("apply", &UpdatePlan::Apply);
  module.def("clip", &ClipGradients);
}

}  // namespace slotwise
