// SPDX-License-Identifier: Apache-2.0
#include "bindings/deferral.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "bindings/choices.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "bindings/table_array.h"
#include "bindings/update_plan.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "simd/row.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {
namespace {

constexpr const char* kOp = "Deferral";

// A read of rows of one array, each by one thread.
struct Reading {
  const DeferredTable& table;
  size_t which;
  const int64_t* rows;  // null: all
  unsigned char* to;

  size_t row_bytes() const { return table.memory().width * SizeOf(table.memory().dtype); }
  size_t Row(size_t i) const { return rows == nullptr ? i : static_cast<size_t>(rows[i]); }

  static void Range(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const Reading*>(context);
    for (size_t i = begin; i < end; ++i) {
      if (self.rows != nullptr && i + 2 * kRowsAhead < end) {
        self.table.FetchStep(self.Row(i + 2 * kRowsAhead));
        self.table.Fetch(self.Row(i + kRowsAhead));
      }
      self.table.ReadRow(self.Row(i), self.which, self.to + i * self.row_bytes());
    }
  }
  void Run(size_t count) const {
    const size_t min_rows = std::max<size_t>(1, kMinBytesPerThread / (4 * row_bytes()));
    ParallelFor({count, min_rows, 0, 1}, &Range, this);
  }
};

// Rows that ids name, of which each is read once, then copied to its places.
void ReadNamed(const DeferredTable& table, size_t which, const RowGroups& groups, size_t count,
               unsigned char* to) {
  const RowGroupsView& view = groups.view();
  Reading reading{table, which, view.rows, nullptr};
  ScratchArray<unsigned char> distinct(view.groups * reading.row_bytes());
  ScratchArray<int32_t> places(count);
  for (size_t g = 0; g < view.groups; ++g) {
    for (size_t k = view.offsets[g]; k < view.offsets[g + 1]; ++k) {
      places[view.positions[k]] = static_cast<int32_t>(g);
    }
  }
  reading.to = distinct.data();
  reading.Run(view.groups);
  Gather({distinct.data(), view.groups, reading.row_bytes(), {places.data(), false, count}, to});
}

// An array of any dtype, of which no rows have steps to make up for, except for these.
class TableOrNumber : public NamedArray {
 public:
  TableOrNumber(const char* op, const char* name, py::handle object,
                const std::vector<const Deferral*>& known)
      : NamedArray(op, name, py::reinterpret_borrow<py::object>(object)) {
    Deferral::RequireNoneBehind(*this, known);
  }
};

}  // namespace

Deferral::Deferral(const std::string& op, const std::string& rule, const py::tuple& arrays,
                   const py::object& scope, const py::object& average, const py::object& last,
                   int64_t rows)
    : op_(op), rule_(FindRule(rule)), last_array_(last) {
  const Trust trust;  // rows of another that holds them are brought to now by who asks for this
  const size_t slots = CountSlots(rule_.spec);
  RequireTuple(op_.c_str(), "arrays", 1 + slots, arrays);
  std::vector<PyObject*> args;
  for (const py::handle each : arrays) args.push_back(each.ptr());
  arrays_ = std::make_unique<Updated>(op_.c_str(), rule_.spec, "var", args.data());
  const ArrayArgument& var = arrays_->var();
  var.RequireRows();
  pinned_var_ = Pinned(var);
  for (size_t i = 0; i < slots; ++i) pinned_slots_[i] = Pinned(arrays_->slot(i));

  const size_t what = ParseChoice(op_.c_str(), "scope", scope, {"rows", "slots", "whole"}, ", ");
  movement_ = rule_.movement;
  if (movement_.drift == Drift::kUnknown && what != 0) {
    Fail(PyExc_ValueError, op_.c_str(), "rule", "one whose steps can be put off", rule);
  }
  if (what != 2) movement_ = {Drift::kNone, Base::kNone, 0, 0, 0};
  keeps_slots_ = what == 0;

  DeferredTable::Memory memory{};
  memory.dtype = var.dtype();
  memory.rows = static_cast<size_t>(var.dim(0));
  memory.width = var.width();
  memory.whole_rows = std::max(memory.rows, static_cast<size_t>(std::max<int64_t>(rows, 0)));
  memory.slot_count = slots;
  memory.var = var.data();
  arrays_->GetSlots(memory.slots);
  if (!average.is_none()) {
    average_.emplace(op_.c_str(), "average", average);
    average_->RequireDTypeOf(var);
    average_->RequireShapeOf(var);
    average_->RequireUpdatable();
    arrays_->RequireApart(*average_);
    pinned_average_ = Pinned(*average_);
    memory.average = average_->data();
    if (movement_.drift == Drift::kReplaced) {
      Fail(PyExc_ValueError, op_.c_str(), "average",
           std::string("None with ") + rule + ", whose average has no closed form", "an average");
    }
  }
  const IntegerArray steps(op_.c_str(), "last", last);
  if (PyArray_ITEMSIZE(steps.array()) != 4 || steps.rank() != 1 || steps.dim(0) != var.dim(0) ||
      PyArray_DATA(steps.array()) != PyArray_DATA(reinterpret_cast<PyArrayObject*>(last.ptr())) ||
      !steps.Has(NPY_ARRAY_CARRAY)) {
    Fail(PyExc_ValueError, op_.c_str(), "last", "a writable int32 array with a number for each row",
         steps.ShapeText());
  }
  memory.last = static_cast<int32_t*>(steps.data());
  table_ = std::make_unique<DeferredTable>(rule_, movement_, memory);
  all_.push_back(this);
}

Deferral::~Deferral() { all_.erase(std::remove(all_.begin(), all_.end(), this), all_.end()); }

void Deferral::CompareWithAll(const NamedArray& array, const Deferral* const* own, size_t count) {
  const auto memory = array.Extent();
  const auto overlaps = [&](const NamedArray& other) {
    const auto its = other.Extent();
    return memory.first < its.second && its.first < memory.second;
  };
  for (const Deferral* const each : all_) {
    if (!each->is_behind() || std::find(own, own + count, each) != own + count) continue;
    bool is_shared =
        overlaps(each->arrays_->var()) || (each->average_ && overlaps(*each->average_));
    for (size_t i = 0; i < each->arrays_->slot_count(); ++i) {
      is_shared = is_shared || overlaps(each->arrays_->slot(i));
    }
    if (!is_shared) continue;
    Fail(PyExc_ValueError, array.op(), array.name(),
         "memory whose rows are up to date (pass the Variable, or call the optimizer's flush())",
         "that of a variable with sparse='deferred', of which rows have steps to make up for");
  }
}

void Deferral::RequireOf(const char* op, const RuleEntry& rule, const Updated& arrays,
                         const ArrayArgument* average) const {
  bool is_same = &rule == &rule_ && pinned_var_.Is(arrays.var().array()) &&
                 (average != nullptr) == average_.has_value() &&
                 (average == nullptr || pinned_average_.Is(average->array()));
  for (size_t i = 0; i < arrays_->slot_count() && is_same; ++i) {
    is_same = pinned_slots_[i].Is(arrays.slot(i).array());
  }
  if (!is_same) {
    Fail(PyExc_ValueError, op, "deferrals", "a Deferral of the same rule and arrays", "another");
  }
}

Motion Deferral::MotionOf(const double* hypers, const bool* attrs) const {
  if (keeps_slots_) return {};
  Motion motion = rule_.motion(arrays_->var().dtype(), hypers, attrs);
  if (movement_.drift == Drift::kNone) motion.epsilon = 0;  // beside nothing
  return motion;
}

void Deferral::Require(const Motion& motion) const {
  RequireUnchanged();
  const std::string why = table_->clock().Refusal(motion);
  if (!why.empty()) {
    Fail(PyExc_ValueError, op_.c_str(), "sparse", "hyperparameters by which steps can be put off",
         why);
  }
}

void Deferral::RequireUnchanged() const {
  pinned_var_.Require(arrays_->var());
  for (size_t i = 0; i < arrays_->slot_count(); ++i) pinned_slots_[i].Require(arrays_->slot(i));
  if (average_) pinned_average_.Require(*average_);
}

std::unique_lock<FairMutex> AloneWith(FairMutex& mutex) {
  std::unique_lock<FairMutex> lock(mutex, std::try_to_lock);
  if (!lock.owns_lock()) {  // who reads may be long about it
    std::optional<py::gil_scoped_release> release;
    if (PyGILState_Check() != 0) release.emplace();
    lock.lock();
  }
  return lock;
}

void Deferral::Flush() {
  RequireUnchanged();
  const py::gil_scoped_release release;
  const std::unique_lock<FairMutex> lock(table_->mutex());
  table_->Flush(nullptr);
}

py::tuple Deferral::Arrays() const {
  py::list found;
  const auto add = [&](const NamedArray& array) {
    found.append(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(array.array())));
  };
  add(arrays_->var());
  for (size_t i = 0; i < arrays_->slot_count(); ++i) add(arrays_->slot(i));
  if (average_) add(*average_);
  return py::tuple(found);
}

py::object Deferral::Clock() const {
  Record record;
  const std::unique_lock<FairMutex> lock = AloneWith(table_->mutex());
  table_->Keep(record);
  const std::vector<double>& numbers = record.numbers();
  auto size = static_cast<npy_intp>(numbers.size());
  const auto found = py::reinterpret_steal<py::object>(PyArray_SimpleNew(1, &size, NPY_DOUBLE));
  if (!found) throw py::error_already_set();
  std::copy(numbers.begin(), numbers.end(), static_cast<double*>(DataOf(found)));
  return found;
}

void Deferral::Restore(const py::object& last_object, const py::object& clock_object) {
  const IntegerArray last(op_.c_str(), "last", last_object);
  const ArrayArgument clock(op_.c_str(), "clock", clock_object);
  const auto is_plain = [](const NamedArray& array) {
    return array.rank() == 1 && array.Has(NPY_ARRAY_CARRAY_RO);
  };
  if (!is_plain(last) || PyArray_ITEMSIZE(last.array()) != 4 ||
      last.dim(0) != arrays_->var().dim(0) || !is_plain(clock) || clock.dtype() != DType::kF64) {
    Fail(PyExc_ValueError, op_.c_str(), "last, clock", "what a Deferral of these arrays gave",
         "other arrays");
  }
  RequireUnchanged();
  Record record(static_cast<const double*>(clock.data()), clock.count());
  const std::unique_lock<FairMutex> lock = AloneWith(table_->mutex());
  try {
    table_->Restore(record, static_cast<const int32_t*>(last.data()));
  } catch (const std::invalid_argument&) {
    Fail(PyExc_ValueError, op_.c_str(), "deferred_clock, deferred_steps",
         "those of a variable of the same kind, updated by the same rule", "others");
  }
}

size_t Deferral::ParseWhich(const py::object& which) const {
  const auto number = which.cast<int64_t>();
  const auto slots = static_cast<int64_t>(arrays_->slot_count());
  if (number == -1) return DeferredTable::kVar;
  if (number == -2 && average_) return DeferredTable::kAverage;
  if (number >= 0 && number < slots) return static_cast<size_t>(number);
  Fail(PyExc_ValueError, kOp, "which", "-1 (the variable), -2 (its average) or a slot",
       std::to_string(number));
}

py::object Deferral::Read(const py::object& which, const py::object& ids_object,
                          const py::object& out_object) const {
  RequireUnchanged();
  const size_t array = ParseWhich(which);
  const ArrayArgument& var = arrays_->var();
  // (Another Variable of this memory may have gone on with another.)
  RequireNoneBehind(array == DeferredTable::kVar       ? var
                    : array == DeferredTable::kAverage ? *average_
                                                       : arrays_->slot(array),
                    this);
  std::optional<IntegerArray> ids;
  std::optional<RowsArgument> rows;
  std::vector<npy_intp> shape = var.ShapeOfRows(static_cast<size_t>(var.dim(0)));
  if (!ids_object.is_none()) {
    ids.emplace("gather", "ids", ids_object);
    rows.emplace("gather", "ids",
                 py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(ids->array())),
                 var.dim(0), Bounds::kRaise);
    shape = Join(*ids, var);
  }
  py::object out = out_object;
  if (out.is_none()) {
    out = NewLike(var, shape);
  } else {
    const ArrayArgument given("gather", "out", out);
    given.RequireDTypeOf(var);
    given.RequireShape(shape, "");
    given.RequireUpdatable();
    arrays_->RequireApart(given);
    if (average_) given.RequireApartFrom(*average_);
    if (ids) given.RequireApartFrom(*ids);
  }
  auto* const to = static_cast<unsigned char*>(DataOf(out));
  if (var.count() == 0) return out;
  {
    const py::gil_scoped_release release;
    const std::shared_lock<FairMutex> lock(table_->mutex());
    if (rows) {
      ReadNamed(*table_, array, rows->groups(), ids->count(), to);
    } else {
      Reading{*table_, array, nullptr, to}.Run(static_cast<size_t>(var.dim(0)));
    }
  }
  return out;
}

void BindDeferral(py::module_& module) {
  module.def("require_current", [](const std::string& op, const std::string& name, py::handle array,
                                   const std::vector<const Deferral*>& known) {
    if (PyArray_Check(array.ptr())) TableOrNumber(op.c_str(), name.c_str(), array, known);
  });
  using Strings = const std::string&;
  using Object = const py::object&;
  py::class_<Deferral>(module, "Deferral")
      .def(py::init<Strings, Strings, const py::tuple&, Object, Object, Object, int64_t>(),
           py::arg("op"), py::arg("rule"), py::arg("arrays"), py::arg("scope"), py::arg("average"),
           py::arg("last"), py::arg("rows"))
      .def_property_readonly("is_behind", &Deferral::is_behind)
      .def("flush", &Deferral::Flush)
      .def_property_readonly("arrays", &Deferral::Arrays)
      .def_property_readonly("last", &Deferral::last)
      .def_property_readonly("flushes", [](const Deferral& self) { return self.table().flushes(); })
      .def_property_readonly("clock", &Deferral::Clock)
      .def("restore", &Deferral::Restore, py::arg("last"), py::arg("clock"))
      .def("read", &Deferral::Read, py::arg("which") = -1, py::arg("ids") = py::none(),
           py::arg("out") = py::none())
      .def_property_readonly("now", [](const Deferral& self) {
        const py::gil_scoped_release release;
        const std::shared_lock<FairMutex> lock(self.table().mutex());
        return self.table().clock().now();
      });
}

}  // namespace slotwise
