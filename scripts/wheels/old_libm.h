// SPDX-License-Identifier: Apache-2.0
// Included first in all that goes into a wheel. The only function of ours with a newer version than
// the oldest glibc that wheels are for has: exp() of glibc 2.29 differs from the older one in that
// it leaves out what is done for SVID's error handling. The numbers are the same.
#pragma once

#if defined(__linux__) && defined(__x86_64__)
__asm__(".symver exp,exp@GLIBC_2.2.5");
#elif defined(__linux__) && defined(__aarch64__)
__asm__(".symver exp,exp@GLIBC_2.17");
#endif
