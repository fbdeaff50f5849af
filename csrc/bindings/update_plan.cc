// UpdatePlan: a list of variables with their slots, checked once, that one call updates by one
// rule.

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bindings/around_argument.h"
#include "bindings/clipping.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/numbers_by_type.h"
#include "bindings/operands.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "bindings/written_memory.h"
#include "core/gradients.h"
#include "core/row_set.h"
#include "core/scratch.h"
#include "core/tables.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// What the rule does to the rows that no id names.
Untouched ParseScope(const char* op, const std::string& text) {
  if (text == "rows") return Untouched::kKeep;
  if (text == "slots") return Untouched::kSlots;
  if (text == "whole") return Untouched::kAll;
  Fail(PyExc_ValueError, op, "scope", "'rows', 'slots' or 'whole'", "'" + text + "'");
}

// Whether these rows are decayed and averaged.
bool ParseAround(const char* op, const std::string& text) {
  if (text == "rows") return false;
  if (text == "whole") return true;
  Fail(PyExc_ValueError, op, "around", "'rows' or 'whole'", "'" + text + "'");
}

// The items of a list of `count`; of None, none.
py::tuple OnePerEntry(const char* op, const char* name, const py::object& list, size_t count) {
  if (list.is_none()) return py::tuple();
  if (!py::isinstance<py::list>(list)) {
    Fail(PyExc_TypeError, op, name, "a list or None", TypeName(list));
  }
  if (py::len(list) != count) {
    Fail(PyExc_ValueError, op, name, "one for each of " + std::to_string(count) + " entries",
         std::to_string(py::len(list)));
  }
  return py::tuple(list);
}

const RuleEntry& FindRule(const std::string& name) {
  for (const RuleEntry* rule : kRules) {
    if (name == rule->spec.name && rule->dense != nullptr) return *rule;
  }
  Fail(PyExc_ValueError, "UpdatePlan", "rule", "the name of a rule with a dense op", name);
}

class UpdatePlan {
 public:
  // `entries` are tuples (key, name, var, slots...), the slots in the order of the rule's.
  // `averages` are the moving averages of each var, `decays` whether it decays; or None.
  UpdatePlan(const std::string& op, const std::string& rule, const py::list& entries,
             const py::object& averages, const py::object& decays)
      : op_(op), rule_(FindRule(rule)), written_({}) {
    const py::tuple average_of = OnePerEntry(op_.c_str(), "averages", averages, entries.size());
    const py::tuple decays_of = OnePerEntry(op_.c_str(), "decays", decays, entries.size());
    has_averages_ = !averages.is_none();
    has_decays_ = !decays.is_none();
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
      const size_t number = entries_.size();
      Entry& entry = entries_.emplace_back();
      entry.key = py::reinterpret_borrow<py::object>(fields[0]);
      entry.grad_name = grad_name.c_str();
      entry.arrays =
          std::make_unique<Updated>(op_.c_str(), rule_.spec, var_name.c_str(), args.data());
      const Updated& arrays = *entry.arrays;
      intervals.push_back(arrays.var().Extent());
      for (size_t i = 0; i < slot_count; ++i) intervals.push_back(arrays.slot(i).Extent());
      if (has_averages_) {
        const std::string& name = Keep("average of " + var_name);
        const ArrayArgument& average =
            entry.average.emplace(op_.c_str(), name.c_str(), py::object(average_of[number]));
        average.RequireDTypeOf(arrays.var());
        average.RequireShapeOf(arrays.var());
        average.RequireUpdatable();
        arrays.RequireApart(average);
        intervals.push_back(average.Extent());
      }
      if (has_decays_)
        entry.decays = ParseAttr(op_.c_str(), "decays", py::object(decays_of[number]));
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
  // `hypers` are NumbersByType, `decay` and `average` an AroundArgument. `scope` and `around` say
  // which rows the rule updates, and which are decayed and averaged, where a gradient is sparse.
  void Apply(const py::list& pairs, const py::object& hypers, const py::object& attrs,
             const py::object& clipvalue, const py::object& clipnorm,
             const py::object& global_clipnorm, const std::string& scope, const py::object& decay,
             const py::object& average, const std::string& around) const {
    if (!Matches(pairs)) {
      Fail(PyExc_TypeError, op_.c_str(), "pairs", "a gradient and a variable of the plan each",
           "others");
    }
    Step step(*this);
    for (size_t i = 0; i < entries_.size(); ++i) {
      const PyObject* const pair = PyList_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
      step.TakeGradient(i, PyTuple_GET_ITEM(pair, 0));
    }
    step.PrepareAround(decay, average, ParseAround(op_.c_str(), around));
    step.Prepare(hypers, attrs, {clipvalue, clipnorm, global_clipnorm},
                 ParseScope(op_.c_str(), scope));
    step.Run();
  }

 private:
  struct Entry {
    py::object key;
    const char* grad_name;
    std::unique_ptr<Updated> arrays;
    std::optional<ArrayArgument> average;
    bool decays = false;
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

    void PrepareAround(const py::object& decay, const py::object& average, bool is_whole) {
      const char* const op = plan_.op_.c_str();
      const AroundArgument argument(op, decay, average);
      around_untouched_ = is_whole;
      if (argument.decays() && !plan_.has_decays_) {
        Fail(PyExc_ValueError, op, "decay", "None, as the plan has no decays", "numbers");
      }
      if (argument.averages() && !plan_.has_averages_) {
        Fail(PyExc_ValueError, op, "average", "None, as the plan has no averages", "numbers");
      }
      if (!argument.decays() && !argument.averages()) return;
      for (const Entry& entry : plan_.entries_) {
        const ArrayArgument& var = entry.arrays->var();
        if (argument.averages()) {
          entry.average->RequireUpdatable();
          bytes_ += var.bytes();
        }
        arounds_.push_back(argument.For(var.dtype(), entry.decays,
                                        entry.average ? entry.average->data() : nullptr));
      }
    }

    void Prepare(const py::object& hypers, const py::object& attrs, const Clipping& clipping,
                 Untouched untouched) {
      untouched_ = untouched;
      const RuleSpec& spec = plan_.rule_.spec;
      const char* const op = plan_.op_.c_str();
      RequireTuple(op, "attrs", CountAttrs(spec), attrs);
      if (plan_.rule_.sparse == nullptr && !sparse_.empty() && untouched != Untouched::kAll) {
        Fail(PyExc_ValueError, op, "scope",
             std::string("'whole', since an update by ") + spec.name + " depends on all rows",
             untouched == Untouched::kKeep ? "'rows'" : "'slots'");
      }
      for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
        attrs_[i] =
            ParseAttr(op, spec.attrs[i], PyTuple_GET_ITEM(attrs.ptr(), static_cast<Py_ssize_t>(i)));
      }
      hypers_ = NumbersByType(op, "hypers", spec.hypers, attrs_[0], hypers);
      for (const Entry& entry : plan_.entries_) hypers_.Require(entry.arrays->var().dtype());
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
          tensor.around = AroundOf(dense_[i].entry);
          first += tensor.count;
        }
        if (first == 0) continue;
        plan_.rule_.dense[TargetIndex()](
            DenseCall{dtype, tensors.size(), tensors.data(), hypers_.Of(dtype), attrs_.data()});
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
      call.hypers = hypers_.Of(call.dtype);
      call.attrs = attrs_.data();
      call.around = AroundOf(item.entry);
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
      const Around* const around = around_untouched_ ? call.around : nullptr;
      if (untouched_ == Untouched::kKeep && around == nullptr) return;
      SweepCall sweep{};
      sweep.dtype = call.dtype;
      sweep.rows = static_cast<size_t>(var.dim(0));
      sweep.width = call.width;
      sweep.var = call.var;
      std::copy_n(call.slots, kMaxSlots, sweep.slots);
      const RowSet touched(sweep.rows, call.groups);
      sweep.except = &touched;
      sweep.untouched = untouched_;
      sweep.hypers = call.hypers;
      sweep.attrs = call.attrs;
      sweep.around = around;
      plan_.rule_.sweep[TargetIndex()](sweep);
    }

    // What is done around the update of an entry; null: nothing.
    const Around* AroundOf(size_t entry) const {
      return arounds_.empty() || !arounds_[entry].any() ? nullptr : &arounds_[entry];
    }

    // The dense update by the gradient that the rows of a sparse one stand for: equal ids summed in
    // order, other rows 0.
    void UpdateWhole(const ArrayArgument& var, const SparseCall& call) const {
      Scratch memory(var.bytes());
      SparseCall sum = call;
      sum.around = nullptr;
      sum.var = std::memset(memory.Take<char>(var.bytes()), 0, var.bytes());
      ScatterFloats(Scatter::kAdd, sum);
      DenseTensor tensor{};
      tensor.count = var.count();
      tensor.var = call.var;
      std::copy_n(call.slots, kMaxSlots, tensor.slots);
      tensor.around = call.around;
      tensor.grad = var.strided();
      tensor.grad.data = sum.var;
      plan_.rule_.dense[TargetIndex()](DenseCall{call.dtype, 1, &tensor, call.hypers, call.attrs});
    }

    const UpdatePlan& plan_;
    std::vector<DenseItem> dense_;
    std::deque<SparseItem> sparse_;
    std::vector<GradTransform> transforms_;  // of dense_, then of sparse_; empty: none
    std::vector<Around> arounds_;            // of entries; empty: none
    NumbersByType hypers_;
    std::array<bool, kMaxAttrs> attrs_{};
    Untouched untouched_ = Untouched::kKeep;
    bool around_untouched_ = false;
    size_t bytes_ = 0;
  };

  const std::string& Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  std::string op_;
  const RuleEntry& rule_;
  std::deque<std::string> texts_;  // names in errors; their addresses stay
  std::vector<Entry> entries_;
  bool has_averages_ = false, has_decays_ = false;
  WrittenMemory written_;
};

}  // namespace

void BindUpdatePlan(py::module_& module) {
  py::class_<UpdatePlan>(module, "UpdatePlan")
      .def(py::init<const std::string&, const std::string&, const py::list&, const py::object&,
                    const py::object&>(),
           py::arg("op"), py::arg("rule"), py::arg("entries"), py::arg("averages") = py::none(),
           py::arg("decays") = py::none())
      .def("matches", &UpdatePlan::Matches)
      .def("apply", &UpdatePlan::Apply, py::arg("pairs"), py::arg("hypers"), py::arg("attrs"),
           py::arg("clipvalue"), py::arg("clipnorm"), py::arg("global_clipnorm"), py::arg("scope"),
           py::arg("decay") = py::none(), py::arg("average") = py::none(),
           py::arg("around") = "rows");
}

}  // namespace slotwise
