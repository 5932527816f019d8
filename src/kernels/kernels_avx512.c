#include "../simd/target.h"
#include "kernels.h"
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#include "../simd/avx512.h"
#include "bodies.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
