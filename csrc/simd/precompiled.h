// SPDX-License-Identifier: Apache-2.0
// What every kernel's file includes before anything is compiled per instruction set. Precompiled:
// reading it takes longer than compiling a small rule.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "hwy/cache_control.h"
