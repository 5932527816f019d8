#include "../simd/target.h"
#include "kernels.h"
#if defined(__x86_64__) && defined(RNNRT_PAIRS)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "../simd/pairs.h"
#include "bodies.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
