// SPDX-License-Identifier: Apache-2.0
// Targets, threads, and how the module was built.

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/module.h"
#include "core/openmp_team.h"
#include "core/targets.h"
#include "core/threads.h"

namespace py = pybind11;

namespace slotwise {

#if defined(_OPENMP)
constexpr int kOpenMP = _OPENMP;
#else
constexpr int kOpenMP = 0;  // none
#endif

// What the states of all threads own. A child of fork ends those of all threads except its own, and
// with them these objects, whose finalizers must not run there: it keeps this list.
py::list OwnedByThreads() {
  std::vector<py::object> found;  // a list would run the collector, and with it other threads
  PyThreadState* state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
  for (; state != nullptr; state = PyThreadState_Next(state)) {
    for (PyObject* const owned :
         {state->dict,                 // values of threading.local
          state->context,              // of ContextVar
          state->exc_state.exc_value,  // what an `except` block handles, with its frames
#if PY_VERSION_HEX >= 0x030D0000
          state->threading_local_key, state->threading_local_sentinel,
#endif
#if PY_VERSION_HEX < 0x030B0000
          state->exc_state.exc_traceback,
#endif
          state->c_profileobj, state->c_traceobj, state->async_exc}) {
      if (owned != nullptr) found.push_back(py::reinterpret_borrow<py::object>(owned));
    }
  }
  py::list list;
  for (py::object& owned : found) list.append(owned);
  return list;
}

void BindRuntime(py::module_& module) {
  module.def("targets", &SupportedTargets);
  module.def("active_target", &ActiveTarget);
  module.def("set_target", &SetTarget);
  module.def("num_threads", &NumThreads);
  module.def("set_num_threads", &SetNumThreads);
  module.def("owned_by_threads", &OwnedByThreads);
  module.def("share_team_of", &ShareTeamOf);
  module.def("build_config", [] {
    using namespace py::literals;
    return py::dict("version"_a = SLOTWISE_VERSION, "compiler"_a = SLOTWISE_COMPILER,
                    "build_type"_a = SLOTWISE_BUILD_TYPE, "highway"_a = HighwayVersion(),
                    "highway_linkage"_a = SLOTWISE_HIGHWAY_LINKAGE, "openmp"_a = kOpenMP,
                    "targets_built"_a = BuiltTargets());
  });
}

}  // namespace slotwise
