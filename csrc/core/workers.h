// SPDX-License-Identifier: Apache-2.0
// Threads that wait for the work of any call.
#pragma once

#include <cstddef>

namespace slotwise {

// More tasks than this at once there are none.
inline constexpr size_t kMaxTasks = 1024;

// Calls task(context, i), which throws nothing, for each i below `count`: the calling thread and up
// to count - 1 workers do, each i by one of them. Returns when all have ended. A shared OpenMP team
// that is awake takes the workers' place (openmp_team.h).
//
// Nobody waits for a worker that is not awake, or that the system has no core for: the caller does
// what others have not begun. Worker i begins with task i, which finds its memory in the cache of
// the core that had it in the call before.
void RunTasks(size_t count, void (*task)(const void* context, size_t i), const void* context);

}  // namespace slotwise
