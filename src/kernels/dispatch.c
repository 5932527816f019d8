/* Which table runs: an ordered list, best first; RNNRT_ISA in the environment forces one. The scalar table
 * runs everywhere. */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

extern const struct rnnrt_kernels rnnrt_kernels_scalar;
#if defined(__x86_64__)
extern const struct rnnrt_kernels rnnrt_kernels_avx2, rnnrt_kernels_avx512;

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#elif defined(__aarch64__)
extern const struct rnnrt_kernels rnnrt_kernels_neon;
#endif
#ifdef RNNRT_PAIRS
extern const struct rnnrt_kernels rnnrt_kernels_avx2_pairs;
#endif
static bool always(void) { return true; }

static const struct {
    const struct rnnrt_kernels *table;
    bool (*runs)(void);
} tables[] = {
#if defined(__x86_64__)
    {&rnnrt_kernels_avx512, has_avx512},
    {&rnnrt_kernels_avx2, has_avx2},
#ifdef RNNRT_PAIRS /* for tests: never the best */
    {&rnnrt_kernels_avx2_pairs, has_avx2},
#endif
#elif defined(__aarch64__)
    {&rnnrt_kernels_neon, always},
#endif
    {&rnnrt_kernels_scalar, always},
};

const struct rnnrt_kernels *rnnrt_kernels_find(const char *isa) {
    if (!isa) isa = getenv("RNNRT_ISA");
    if (isa && !*isa) isa = NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tables[i].runs() && (!isa || !strcmp(isa, tables[i].table->isa))) return tables[i].table;
    return NULL;
}

size_t rnnrt_isas(const char **names, size_t room) {
    size_t count = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tables[i].runs() && count < room) names[count++] = tables[i].table->isa;
    return count;
}
