// SPDX-License-Identifier: Apache-2.0
// Pooling rows of tables by bags, and what its gradients need.

#include "bindings/bags.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "bindings/choices.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/table_array.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {

BagsArgument::BagsArgument(const char* op, py::handle object, DType dtype)
    : BagsArgument(op, RequireTuple(op, "bags", 3, object), dtype) {}

BagsArgument::BagsArgument(const char* op, const py::tuple& fields, DType dtype)
    : op_(op),
      dtype_(dtype),
      mode_(static_cast<Pooling>(ParseChoice(op, "mode", fields[2], {"sum", "mean", "sqrtn"}))),
      offsets_(op, "offsets", fields[0]) {
  const RowIds bounds = offsets_.ids();
  bool ascends = bounds.is_int64 && bounds.count > 0 && bounds[0] == 0;
  for (size_t i = 1; ascends && i < bounds.count; ++i) ascends = bounds[i - 1] <= bounds[i];
  if (!ascends) {
    Fail(PyExc_ValueError, op, "offsets", "int64 numbers that ascend from 0", "others");
  }
  if (count() >= std::numeric_limits<uint32_t>::max()) {
    Fail(PyExc_ValueError, op, "offsets", "fewer than 2^32 - 1 bags", std::to_string(count()));
  }
  if (fields[1].is_none()) return;
  weights_.emplace(op, "weights", fields[1]);
  weights_->RequireShape({static_cast<npy_intp>(ids())}, " like ids");
  if (weights_->dtype() != (dtype == DType::kF64 ? DType::kF64 : DType::kF32) ||
      !weights_->Has(NPY_ARRAY_CARRAY_RO)) {
    Fail(PyExc_TypeError, op, "weights", "them in the type that is computed in", "others");
  }
}

void BagsArgument::RequireIds(size_t count) const {
  if (ids() == count) return;
  Fail(PyExc_ValueError, op_, "offsets",
       "them to end with " + std::to_string(count) + ", the number of ids", std::to_string(ids()));
}

void BagsArgument::RequireGradients(const NamedArray& grads, const NamedArray& table) const {
  grads.RequireShape(table.ShapeOfRows(count()), ", a row for each bag");
}

namespace {

constexpr const char* kPool = "gather_pooled";

// The ids of one table, by the plan or the array that was given; those that a plan left out are
// left out of their bags.
class PooledIds {
 public:
  PooledIds(const char* name, py::handle object, int64_t rows, const BagsArgument& bags)
      : rows_(rows), offsets_(bags.offsets()), weights_(bags.weights()) {
    if (!py::isinstance<RowGroups>(object)) {
      ids_ = array_.emplace(kPool, name, object).ids();
      bags.RequireIds(ids_.count);
      RequireInside();
      return;
    }
    const RowsArgument plan(kPool, name, object, rows, Bounds::kSkip);
    const RowGroups& groups = plan.groups();
    bags.RequireIds(groups.id_count());
    own_.emplace(groups.Ids());
    if (groups.skipped() > 0) LeaveOut(bags);
    ids_ = {own_->data(), true, static_cast<size_t>(offsets_[bags.count()])};
  }

  const RowIds& ids() const { return ids_; }
  const int64_t* offsets() const { return offsets_; }
  const void* weights() const { return weights_; }

  // Raises if an id of the array is none of the table's: another thread may change them.
  void RequireInside() const {
    if (!array_) return;
    if (const auto at = FirstOutside(ids_, rows_)) array_->FailOutside(*at, rows_);
  }
  void RequireApart(const NamedArray& out) const {
    if (array_) out.RequireApartFrom(*array_);
  }

 private:
  void LeaveOut(const BagsArgument& bags) {
    const size_t bytes = bags.dtype() == DType::kF64 ? sizeof(double) : sizeof(float);
    if (weights_ != nullptr) {
      const auto* const from = static_cast<const char*>(weights_);
      kept_weights_.assign(from, from + own_->size() * bytes);
    }
    kept_offsets_.push_back(0);
    size_t kept = 0;
    for (size_t bag = 0; bag < bags.count(); ++bag) {
      for (auto i = static_cast<size_t>(bags.offsets()[bag]);
           i < static_cast<size_t>(bags.offsets()[bag + 1]); ++i) {
        if ((*own_)[i] < 0) continue;
        (*own_)[kept] = (*own_)[i];
        if (weights_ != nullptr) {
          std::copy_n(&kept_weights_[i * bytes], bytes, &kept_weights_[kept * bytes]);
        }
        ++kept;
      }
      kept_offsets_.push_back(static_cast<int64_t>(kept));
    }
    offsets_ = kept_offsets_.data();
    if (weights_ != nullptr) weights_ = kept_weights_.data();
  }

  int64_t rows_;
  const int64_t* offsets_;
  const void* weights_;
  RowIds ids_{};
  std::optional<IntegerArray> array_;
  std::optional<ScratchArray<int64_t>> own_;
  std::vector<int64_t> kept_offsets_;
  std::vector<char> kept_weights_;
};

// One table of a call.
struct Pooled {
  Pooled(const char* table_name, const char* ids_name, py::handle item)
      : fields(RequireTuple(kPool, "tables", 3, item)),
        table(kPool, table_name, fields[0]),
        bags(kPool, py::object(fields[2]), table.dtype()),
        ids(ids_name, fields[1], Rows(table), bags) {}

  static int64_t Rows(const ArrayArgument& table) {
    table.RequireRows();
    table.RequireContiguous();
    return table.dim(0);
  }

  // (That of a table without rows, too.)
  size_t width() const {
    size_t width = 1;
    for (int d = 1; d < table.rank(); ++d) width *= static_cast<size_t>(table.dim(d));
    return width;
  }

  py::tuple fields;
  ArrayArgument table;
  BagsArgument bags;
  PooledIds ids;
};

// The dtype of all tables, or the widest that any of them is computed in.
DType OutputType(const std::deque<Pooled>& tables) {
  const DType first = tables.front().table.dtype();
  bool is_same = true, has_wide = false;
  for (const Pooled& each : tables) {
    is_same &= each.table.dtype() == first;
    has_wide |= each.table.dtype() == DType::kF64;
  }
  return is_same ? first : has_wide ? DType::kF64 : DType::kF32;
}

py::object NewOutput(const ArrayArgument& like, DType dtype, std::vector<npy_intp> shape) {
  if (dtype == like.dtype()) return NewLike(like, std::move(shape));
  const int type = dtype == DType::kF64 ? NPY_FLOAT64 : NPY_FLOAT32;
  auto out = py::reinterpret_steal<py::object>(
      PyArray_SimpleNew(static_cast<int>(shape.size()), shape.data(), type));
  if (!out) throw py::error_already_set();
  return out;
}

// `items` are tuples of a table, its ids and its bags; if they are `many`, their rows come beside
// each other.
py::object PoolRows(const py::list& items, bool many, const py::object& out_object) {
  std::deque<std::string> names;
  std::deque<Pooled> tables;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string number = "[" + std::to_string(i) + "]";
    const char* const table = names.emplace_back(many ? "table" + number : "table").c_str();
    const char* const ids = names.emplace_back(many ? "ids" + number : "ids").c_str();
    tables.emplace_back(table, ids, items[i]);
    if (tables.back().bags.count() != tables.front().bags.count()) {
      Fail(PyExc_ValueError, kPool, ids,
           "as many bags as ids[0] has, " + std::to_string(tables.front().bags.count()),
           std::to_string(tables.back().bags.count()));
    }
  }
  if (tables.empty()) Fail(PyExc_ValueError, kPool, "table", "at least one", "none");

  const ArrayArgument& first = tables.front().table;
  const size_t bags = tables.front().bags.count();
  size_t width = 0;
  for (const Pooled& each : tables) width += each.width();
  const DType dtype = OutputType(tables);
  const std::vector<npy_intp> shape =
      many ? std::vector<npy_intp>{static_cast<npy_intp>(bags), static_cast<npy_intp>(width)}
           : first.ShapeOfRows(bags);
  const py::object out = out_object.is_none() ? NewOutput(first, dtype, shape) : out_object;
  const ArrayArgument given(kPool, "out", out);
  if (given.dtype() != dtype) {
    const char* const kNames[] = {"float16", "bfloat16", "float32", "float64"};
    Fail(PyExc_TypeError, kPool, "out", std::string("dtype ") + kNames[static_cast<size_t>(dtype)],
         given.DTypeText());
  }
  given.RequireShape(shape, "");
  given.RequireUpdatable();

  std::vector<PooledTable> calls;
  size_t column = 0;
  for (const Pooled& each : tables) {
    if (!out_object.is_none()) {
      given.RequireApartFrom(each.table);
      each.ids.RequireApart(given);
    }
    if (each.width() > 0) {
      calls.push_back({each.table.dtype(), each.width(), each.table.data(),
                       static_cast<size_t>(each.table.dim(0)), each.ids.ids(), each.ids.weights(),
                       each.ids.offsets(), bags,
                       static_cast<char*>(given.data()) + column * SizeOf(dtype),
                       static_cast<int64_t>(width), dtype});
    }
    column += each.width();
  }
  if (bags > 0 && !calls.empty()) {
    const py::gil_scoped_release release;
    GatherPooled({calls.size(), calls.data(), tables.front().bags.mode()});
  }
  for (const Pooled& each : tables) each.ids.RequireInside();
  return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(given.array()));
}

// The gradients of all ids, an array of the dtype of `grads`: what the gradients of bags stand for.
py::object ExpandBags(py::handle grads_object, py::handle bags_object) {
  constexpr const char* kOp = "PooledSlices";
  ArrayArgument grads(kOp, "grads", grads_object);
  grads.RequireRows();
  const BagsArgument bags(kOp, bags_object, grads.dtype());
  bags.RequireGradients(grads, grads);
  grads.MakeRowsContiguous();
  return Expanded(grads, bags);
}

py::object WeightGradient(py::handle grads_object, py::handle table_object, py::handle ids_object,
                          py::handle bags_object) {
  constexpr const char* kOp = "pooled_weight_gradient";
  const ArrayArgument table(kOp, "table", table_object);
  table.RequireRows();
  table.RequireContiguous();
  const BagsArgument bags(kOp, bags_object, table.dtype());
  const IntegerArray ids(kOp, "ids", ids_object);
  bags.RequireIds(ids.count());
  ArrayArgument grads(kOp, "bag_grads", grads_object);
  grads.RequireDTypeOf(table);
  bags.RequireGradients(grads, table);
  grads.MakeRowsContiguous();
  const auto require_inside = [&] {
    if (const auto at = FirstOutside(ids.ids(), table.dim(0))) ids.FailOutside(*at, table.dim(0));
  };
  require_inside();
  auto count = static_cast<npy_intp>(ids.count());
  const auto out = py::reinterpret_steal<py::object>(
      PyArray_ZEROS(1, &count, table.dtype() == DType::kF64 ? NPY_FLOAT64 : NPY_FLOAT32, 0));
  if (!out) throw py::error_already_set();
  if (count > 0 && table.width() > 0) {
    const py::gil_scoped_release release;
    PooledWeightGradient({table.dtype(), table.width(), table.data(),
                          static_cast<size_t>(table.dim(0)), ids.ids(), grads.data(),
                          grads.RowStride(), bags.offsets(), bags.count(), DataOf(out)});
  }
  require_inside();
  return out;
}

}  // namespace

py::object Expanded(const ArrayArgument& grads, const BagsArgument& bags) {
  const size_t ids = bags.ids();
  const py::object out = NewLike(grads, grads.ShapeOfRows(ids));
  if (ids == 0 || grads.width() == 0) return out;
  const py::gil_scoped_release release;
  const Bags pooled = bags.ForGradients({});
  ScratchArray<uint32_t> each(ids + 1);  // every id is a group of its own
  std::iota(each.data(), each.data() + ids + 1, 0);
  CoalesceCall call{};
  call.dtype = grads.dtype();
  call.width = grads.width();
  call.gradients = {grads.data(), grads.RowStride(), &pooled.view()};
  call.groups = {ids, nullptr, each.data(), each.data()};
  call.places = each.data();
  call.out = DataOf(out);
  Coalesce(call);
  return out;
}

void BindBags(py::module_& module) {
  module.def("gather_pooled", &PoolRows);
  module.def("expand_bags", &ExpandBags);
  module.def("pooled_weight_gradient", &WeightGradient);
}

}  // namespace slotwise
