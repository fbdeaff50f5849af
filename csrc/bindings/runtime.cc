// SPDX-License-Identifier: Apache-2.0
// Targets, threads, and how the module was built.

#include <pybind11/stl.h>

#include <string>

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

void BindRuntime(py::module_& module) {
  module.def("targets", &SupportedTargets);
  module.def("active_target", &ActiveTarget);
  module.def("set_target", &SetTarget);
  module.def("num_threads", &NumThreads);
  module.def("set_num_threads", &SetNumThreads);
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
