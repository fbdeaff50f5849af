// SPDX-License-Identifier: Apache-2.0
// The drivers that most rules share.
#pragma once

#include "core/types.h"
#include "drivers/kernel.h"

namespace slotwise {

// Update all that a call names by a kernel whose gradients are of the stored type.
void RunDense(const Kernel& kernel, const DenseCall& call);
void RunSweep(const Kernel& kernel, const SweepCall& call);

// The same by a kernel whose gradients are of the type that is computed in.
void RunRows(const Kernel& kernel, const SparseCall& call);

}  // namespace slotwise
