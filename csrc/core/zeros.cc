// SPDX-License-Identifier: Apache-2.0
#include "core/zeros.h"

namespace slotwise {

alignas(64) const unsigned char kZeros[kZeroElements * sizeof(double)] = {};

}  // namespace slotwise
