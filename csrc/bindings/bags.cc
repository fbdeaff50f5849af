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

namespace {

// What NumPy makes of an argument; `expected` says what that was to be.
py::object ToArray(const char* op, const char* name, const char* expected, py::handle object) {
  auto array = py::reinterpret_steal<py::object>(PyArray_FROM_O(object.ptr()));
  if (!array) {
    PyErr_Clear();
    Fail(PyExc_TypeError, op, name, expected, TypeName(object));
  }
  return array;
}

// The same array, or a copy, contiguous and of another type.
py::object Cast(const py::object& array, int type) {
  auto cast = py::reinterpret_steal<py::object>(PyArray_FROM_OTF(
      array.ptr(), type, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_NOTSWAPPED | NPY_ARRAY_FORCECAST));
  if (!cast) throw py::error_already_set();
  return cast;
}

// What errors say of an array: its numbers, if they are few.
std::string Shown(const py::object& array) {
  constexpr npy_intp kFew = 12;
  if (PyArray_SIZE(ArrayOf(array)) <= kFew) return Text(array.attr("tolist")());
  return "an array of shape " + Text(array.attr("shape"));
}

// Offsets with the number of ids appended, if they do not have it. Notes of what kind they are.
ScratchArray<int64_t> Offsets(const char* op, const std::string& where, py::handle object,
                              size_t ids, py::handle include_last, OffsetsAre& kind) {
  const std::string name = "offsets" + where;
  if (object.is_none()) {
    Fail(PyExc_TypeError, op, name.c_str(), "where bags begin", "None");
  }
  const py::object given = ToArray(op, name.c_str(), "a vector of integers", object);
  PyArrayObject* const array = ArrayOf(given);
  if (PyArray_NDIM(array) != 1 ||
      (PyArray_SIZE(array) > 0 && !PyTypeNum_ISINTEGER(PyArray_TYPE(array)))) {
    Fail(PyExc_TypeError, op, name.c_str(), "a vector of integers",
         "shape " + Text(given.attr("shape")) + " of dtype " + Text(given.attr("dtype")));
  }
  const int has_end = PyObject_IsTrue(include_last.ptr());
  if (has_end < 0) {
    PyErr_Clear();
    Fail(PyExc_TypeError, op, "include_last_offset", "True or False", TypeName(include_last));
  }
  const py::object numbers = Cast(given, NPY_INT64);
  const auto count = static_cast<size_t>(PyArray_SIZE(array));
  const auto* const from = static_cast<const int64_t*>(PyArray_DATA(ArrayOf(numbers)));
  ScratchArray<int64_t> offsets(std::max(size_t{1}, count + (has_end != 0 ? 0 : 1)));
  kind = CopyOffsets(from, count, has_end != 0, ids, offsets.data());
  if (kind == OffsetsAre::kWrong) {
    Fail(PyExc_ValueError, op, name.c_str(),
         "them to ascend from 0 to at most " + std::to_string(ids) +
             (has_end != 0 ? ", and to end with it" : ""),
         Shown(given));
  }
  if (offsets.size() > std::numeric_limits<uint32_t>::max()) {
    Fail(PyExc_ValueError, op, name.c_str(), "fewer than 2^32 - 1 bags",
         std::to_string(offsets.size() - 1));
  }
  return offsets;
}

// Weights of so many ids, in the type that `dtype` is computed in.
py::object Weights(const char* op, const char* name, py::handle object, size_t ids, DType dtype) {
  const py::object given = ToArray(op, name, "an array of numbers", object);
  const int type = PyArray_TYPE(ArrayOf(given));
  const bool is_number = PyTypeNum_ISBOOL(type) || PyTypeNum_ISINTEGER(type) ||
                         PyTypeNum_ISFLOAT(type) || FloatTypeOf(ArrayOf(given));
  if (!is_number) {
    Fail(PyExc_TypeError, op, name, "an array of real numbers",
         "dtype " + Text(given.attr("dtype")));
  }
  // (Before it is copied: a broadcast one may have any size.)
  if (PyArray_NDIM(ArrayOf(given)) != 1 ||
      PyArray_SIZE(ArrayOf(given)) != static_cast<npy_intp>(ids)) {
    Fail(PyExc_ValueError, op, name, "shape (" + std::to_string(ids) + ",) like ids",
         Text(given.attr("shape")));
  }
  return Cast(given, dtype == DType::kF64 ? NPY_FLOAT64 : NPY_FLOAT32);
}

}  // namespace

BagsArgument::BagsArgument(const char* op, const std::string& where, py::handle object, size_t ids,
                           DType dtype)
    : BagsArgument(op, where, RequireTuple(op, "bags", 4, object), ids, dtype) {}

BagsArgument::BagsArgument(const char* op, const std::string& where, const py::tuple& fields,
                           size_t ids, DType dtype)
    : dtype_(dtype),
      mode_(static_cast<Pooling>(ParseChoice(op, "mode", fields[2], {"sum", "mean", "sqrtn"}))),
      weights_name_("weights" + where),
      offsets_(Offsets(op, where, fields[0], ids, fields[3], kind_)) {
  if (fields[1].is_none()) return;
  const char* const name = weights_name_.c_str();
  weights_.emplace(op, name, Weights(op, name, fields[1], ids, dtype));
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
  PooledIds(const char* op, const char* name, py::handle object, int64_t rows) : rows_(rows) {
    if (py::isinstance<RowGroups>(object)) {
      const RowsArgument plan(op, name, object, rows, Bounds::kSkip);
      own_.emplace(plan.groups().Ids());
      skipped_ = plan.groups().skipped();
      ids_ = {own_->data(), true, own_->size()};
    } else {
      ids_ = array_.emplace(op, name, object).ids();
      array_->RequireVector();
    }
  }

  // The bags that the ids are in.
  void Take(const BagsArgument& bags) {
    offsets_ = bags.offsets();
    weights_ = bags.weights();
    has_one_each_ = bags.has_one_id_each() && skipped_ == 0;
    if (skipped_ > 0) LeaveOut(bags);
    ids_.count = static_cast<size_t>(offsets_[bags.count()]);
  }

  const RowIds& ids() const { return ids_; }
  const int64_t* offsets() const { return offsets_; }
  const void* weights() const { return weights_; }
  bool has_one_each() const { return has_one_each_; }  // bag b is id b

  // Raises if an id of the array is none of the table's: another thread may change them.
  void RequireInside() const {
    if (array_) array_->RequireInside(rows_);
  }
  void RequireApart(const NamedArray& out) const {
    if (array_) out.RequireApartFrom(*array_);
  }

 private:
  void LeaveOut(const BagsArgument& bags) {
    const size_t bytes = ComputedSizeOf(bags.dtype());
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
  const int64_t* offsets_ = nullptr;
  const void* weights_ = nullptr;
  size_t skipped_ = 0;
  bool has_one_each_ = false;
  RowIds ids_{};
  std::optional<IntegerArray> array_;
  std::optional<ScratchArray<int64_t>> own_;
  std::vector<int64_t> kept_offsets_;
  std::vector<char> kept_weights_;
};

// One table of a call.
struct Pooled {
  Pooled(const char* table_name, const char* ids_name, const std::string& where, py::handle item)
      : fields(RequireTuple(kPool, "tables", 3, item)),
        table(kPool, table_name, py::object(fields[0])),
        ids(kPool, ids_name, py::object(fields[1]), Rows(table)),
        bags(kPool, where, py::object(fields[2]), ids.ids().count, table.dtype()) {
    ids.Take(bags);
  }

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
  PooledIds ids;
  BagsArgument bags;
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
    const std::string where = many ? "[" + std::to_string(i) + "]" : "";
    const char* const table = names.emplace_back("table" + where).c_str();
    const char* const ids = names.emplace_back("ids" + where).c_str();
    tables.emplace_back(table, ids, where, items[i]);
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
    // New memory may be filled before ids are known to be rows, if there is a row to take for them.
    if (!out_object.is_none() || each.table.dim(0) == 0) each.ids.RequireInside();
    if (!out_object.is_none()) {
      given.RequireApartFrom(each.table);
      each.ids.RequireApart(given);
    }
    if (each.width() > 0) {
      calls.push_back({each.table.dtype(), each.width(), each.table.data(),
                       static_cast<size_t>(each.table.dim(0)), each.ids.ids(), each.ids.weights(),
                       each.ids.offsets(), bags, each.ids.has_one_each(),
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

// Gradients of bags, and how many ids these have: an array, or a plan.
struct GradientsOfBags {
  GradientsOfBags(py::handle grads_object, py::handle ids, py::handle bags_object)
      : grads(Checked(grads_object)), bags(kOp, "", bags_object, Count(ids), grads.dtype()) {
    bags.RequireGradients(grads, grads);
  }

  static ArrayArgument Checked(py::handle object) {
    ArrayArgument grads(kOp, "bag_grads", object);
    grads.RequireRows();
    return grads;
  }
  static size_t Count(py::handle ids) {
    if (py::isinstance<RowGroups>(ids)) return py::len(ids);
    const IntegerArray array(kOp, "ids", ids);
    array.RequireVector();
    return array.count();
  }

  static constexpr const char* kOp = "PooledSlices";

  ArrayArgument grads;
  BagsArgument bags;
};

// Raises if these are no gradients of such bags.
void CheckBags(py::handle grads, py::handle ids, py::handle bags) {
  const GradientsOfBags checked(grads, ids, bags);
}

// The gradients of all ids, an array of the dtype of `grads`: what the gradients of bags stand for.
py::object ExpandBags(py::handle grads, py::handle ids, py::handle bags) {
  GradientsOfBags given(grads, ids, bags);
  given.grads.MakeRowsContiguous();
  const bool is_plan = py::isinstance<RowGroups>(ids);
  return Expanded(given.grads, given.bags,
                  is_plan ? ids.cast<const RowGroups&>().LeftOut() : std::vector<bool>());
}

py::object WeightGradient(py::handle grads_object, py::handle table_object, py::handle ids_object,
                          py::handle bags_object) {
  constexpr const char* kOp = "pooled_weight_gradient";
  const ArrayArgument table(kOp, "table", table_object);
  table.RequireRows();
  table.RequireContiguous();
  const PooledIds ids(kOp, "ids", ids_object, table.dim(0));
  const BagsArgument bags(kOp, "", bags_object, ids.ids().count, table.dtype());
  ArrayArgument grads(kOp, "bag_grads", grads_object);
  grads.RequireDTypeOf(table);
  bags.RequireGradients(grads, table);
  grads.MakeRowsContiguous();
  ids.RequireInside();
  auto count = static_cast<npy_intp>(ids.ids().count);
  const bool is_wide = table.dtype() == DType::kF64;
  const auto out = py::reinterpret_steal<py::object>(
      PyArray_ZEROS(1, &count, is_wide ? NPY_FLOAT64 : NPY_FLOAT32, 0));
  if (!out) throw py::error_already_set();
  if (count > 0 && table.width() > 0) {
    const py::gil_scoped_release release;
    PooledWeightGradient({table.dtype(), table.width(), table.data(),
                          static_cast<size_t>(table.dim(0)), ids.ids(), grads.data(),
                          grads.RowStride(), bags.offsets(), bags.count(), DataOf(out)});
  }
  ids.RequireInside();
  return out;
}

}  // namespace

py::object Expanded(const ArrayArgument& grads, const BagsArgument& bags,
                    const std::vector<bool>& left_out) {
  const size_t ids = bags.ids();
  const py::object out = NewLike(grads, grads.ShapeOfRows(ids));
  if (ids == 0 || grads.width() == 0) return out;
  const py::gil_scoped_release release;
  const Bags pooled = bags.ForGradients(left_out);
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

GradientsArgument::GradientsArgument(const char* op, py::handle grads, const RowGroups& groups,
                                     py::handle bags)
    : array_(op, "grads", grads) {
  if (bags.is_none()) {
    if (array_.rank() == 0 || array_.dim(0) != static_cast<int64_t>(groups.id_count())) {
      Fail(PyExc_ValueError, op, "grads",
           std::to_string(groups.id_count()) + " rows, one for each id",
           "shape " + array_.ShapeText());
    }
    array_.MakeRowsContiguous();
    return;
  }
  array_.RequireRows();
  bags_.emplace(op, "", bags, groups.id_count(), array_.dtype());
  bags_->RequireGradients(array_, array_);
  array_.MakeRowsContiguous();
  if (SizeOf(array_.dtype()) == ComputedSizeOf(array_.dtype())) {
    pooled_.emplace(bags_->ForGradients(groups.LeftOut()));
  } else {
    array_ = ArrayArgument(op, "grads", Expanded(array_, *bags_, groups.LeftOut()));
  }
}

void BindBags(py::module_& module) {
  module.def("gather_pooled", &PoolRows);
  module.def("check_bags", &CheckBags);
  module.def("expand_bags", &ExpandBags);
  module.def("pooled_weight_gradient", &WeightGradient);
}

}  // namespace slotwise
