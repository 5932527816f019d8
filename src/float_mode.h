/* Denormals are flushed inside every entry and the caller's floating-point mode restored: it is part of the
 * order of operations. */
#ifndef RNNRT_FLOAT_MODE_H
#define RNNRT_FLOAT_MODE_H

#include <stdint.h>

#if defined(__SSE2__)
typedef unsigned int float_mode;
static inline float_mode enter_floats(void) {
    float_mode old = __builtin_ia32_stmxcsr();
    if ((old & 0xffc0u) != 0x9fc0u) /* flush, denormals are zero, all masked, to nearest */
        __builtin_ia32_ldmxcsr(0x9fc0u | (old & 0x3fu));
    return old;
}
static inline void leave_floats(float_mode old) {
    if ((old & 0xffc0u) != 0x9fc0u) __builtin_ia32_ldmxcsr(old);
}
#elif defined(__aarch64__)
typedef uint64_t float_mode;
static inline float_mode enter_floats(void) {
    float_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24));
    return old;
}
static inline void leave_floats(float_mode old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
typedef int float_mode;
static inline float_mode enter_floats(void) { return 0; }
static inline void leave_floats(float_mode old) { (void)old; }
#endif

#endif
