// SPDX-License-Identifier: Apache-2.0
// Instruction sets: which are built, which this CPU runs, and which one kernels use.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace slotwise {

// Names of the targets that are built and that this CPU runs, best first.
std::vector<std::string> SupportedTargets();

// Names of all targets that are built, best first.
std::vector<std::string> BuiltTargets();

std::string ActiveTarget();

// Selects a target by name, or the best one if `name` is empty. False if it is not supported.
bool SetTarget(const std::string& name);

// Row of a rule's function table to call.
size_t TargetIndex();

std::string HighwayVersion();

}  // namespace slotwise
