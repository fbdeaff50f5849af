// SPDX-License-Identifier: Apache-2.0
// The OpenMP threads of another library in this process.
//
// They wait actively for some milliseconds after each parallel region. Meanwhile they hold their
// cores against our workers, so that a call does its work alone; and our workers, which wait
// actively too, hold them up in turn. So a call that finds them waiting runs on them. One that
// finds them asleep, or without a core, does not: they would all have to be waited for.
#pragma once

#include <cstddef>

namespace slotwise {

// From now on, calls may run on the OpenMP threads of `library`, which is loaded already. Returns
// false, and changes nothing, if it has none that can be asked.
bool ShareTeamOf(const char* library);

// Calls member(context, i) for each i below `wanted`, or for as many as there are threads, each in
// a thread of the shared team: 0 is the calling one. Returns when all have ended; or false, at
// once, if no team is shared, it is smaller than `wanted`, or it is not awake.
bool RunInTeam(size_t wanted, void (*member)(void* context, size_t i), void* context);

}  // namespace slotwise
