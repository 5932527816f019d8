/* What every kernel file includes first: system headers, then the words the simd headers are written with.
 *
 * The order in a kernel file is: this header, the target pragma, the simd header, the bodies. A system header
 * below the pragma, or a function with a vector argument above it, gives wrong numbers silently at -O0. */
#ifndef RNNRT_TARGET_H
#define RNNRT_TARGET_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifdef __FAST_MATH__
#error "rnnrt promises the order of its floating-point operations: build it without -ffast-math"
#endif

#define VECTOR static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL_FOR _Pragma("GCC unroll 32") for

#endif
