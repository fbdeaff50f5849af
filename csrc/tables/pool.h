// SPDX-License-Identifier: Apache-2.0
// What pools bags of one table.
#pragma once

#include <cstddef>

#include "tables/tables.h"

namespace slotwise {

// Pools bags [begin, end) of a table.
using PoolFunction = void (*)(Pooling mode, const PooledTable& table, size_t begin, size_t end);

// For tables of float32, which have loops for several widths: a unit of its own compiles them.
PoolFunction PoolOfFloat32();

}  // namespace slotwise
