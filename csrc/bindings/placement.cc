// SPDX-License-Identifier: Apache-2.0
// Which rank has a row of a table, and where: by the lowest bits of its number.

#include <optional>
#include <string>

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/table_array.h"
#include "core/threads.h"

namespace py = pybind11;

namespace slotwise {
namespace {

struct Placing {
  RowIds ids;
  const int64_t *owners, *starts;  // by the lowest bits; owners may be null
  size_t bits;
  int64_t *owner_of, *place_of;

  static void Range(const void* context, size_t begin, size_t end) {
    const auto& self = *static_cast<const Placing*>(context);
    const uint64_t mask = (uint64_t{1} << self.bits) - 1;
    for (size_t i = begin; i < end; ++i) {
      const auto row = static_cast<uint64_t>(self.ids[i]);
      self.place_of[i] = self.starts[row & mask] + static_cast<int64_t>(row >> self.bits);
      if (self.owners != nullptr) self.owner_of[i] = self.owners[row & mask];
    }
  }
};

py::object NewIds(const IntegerArray& like) {
  auto array = py::reinterpret_steal<py::object>(
      PyArray_SimpleNew(PyArray_NDIM(like.array()), PyArray_DIMS(like.array()), NPY_INT64));
  if (!array) throw py::error_already_set();
  return array;
}

// `owners` and `starts` have a number for each value of the lowest bits of a row's: the rank that
// has such rows, and where they begin there. Returns the ranks (None without owners) and places.
py::tuple PlaceRows(const std::string& op, py::handle ids_object, int64_t num_rows,
                    const py::object& owners_object, py::handle starts_object) {
  const char* const call = op.c_str();
  const IntegerArray ids(call, "ids", ids_object);
  ids.RequireInside(num_rows);
  const IntegerArray starts(call, "starts", starts_object);
  size_t bits = 0;
  while (size_t{1} << bits < starts.count()) ++bits;
  const auto require = [&](const IntegerArray& array, const char* name) {
    if (!array.ids().is_int64 || array.count() != size_t{1} << bits) {
      Fail(PyExc_ValueError, call, name, "a power of 2 of int64 numbers",
           "shape " + array.ShapeText());
    }
  };
  require(starts, "starts");
  std::optional<IntegerArray> owners;
  if (!owners_object.is_none()) require(owners.emplace(call, "owners", owners_object), "owners");
  const py::object places = NewIds(ids);
  const py::object ranks = owners ? NewIds(ids) : py::none();
  const Placing placing{ids.ids(),
                        owners ? static_cast<const int64_t*>(owners->data()) : nullptr,
                        static_cast<const int64_t*>(starts.data()),
                        bits,
                        owners ? static_cast<int64_t*>(DataOf(ranks)) : nullptr,
                        static_cast<int64_t*>(DataOf(places))};
  constexpr size_t kMinIdsPerThread = 32768;
  {
    const py::gil_scoped_release release;
    ParallelFor({ids.count(), kMinIdsPerThread, 0, 1}, &Placing::Range, &placing);
  }
  return py::make_tuple(ranks, places);
}

}  // namespace

void BindPlacement(py::module_& module) { module.def("place_rows", &PlaceRows); }

}  // namespace slotwise
