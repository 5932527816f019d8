#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

enum { LINE = 64, PLAIN = _Alignof(max_align_t) };

/* Where memory is promised freely, asking for more than there is ends the process at the first touch, not
 * here. */
static bool machine_has(size_t bytes) {
    if (bytes < (size_t)1 << 30) return true;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages < 1 || size < 1 || bytes / (size_t)size < (size_t)pages;
}

void *rnnrt_take(const struct rnnrt_allocator *from, size_t count, size_t size) {
    size_t bytes = rnnrt_times(count, size);
    if (bytes >= RNNRT_MOST) return NULL;
    bytes += !bytes;
    return from->allocate ? from->allocate(from->context, bytes, PLAIN) : malloc(bytes);
}

void *rnnrt_take_zeroed(const struct rnnrt_allocator *from, size_t count, size_t size) {
    size_t bytes = rnnrt_times(count, size);
    if (bytes >= RNNRT_MOST) return NULL;
    if (!from->allocate) return calloc(1, bytes + !bytes);
    void *p = rnnrt_take(from, 1, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void *rnnrt_take_lines(const struct rnnrt_allocator *from, size_t bytes) {
    if (bytes >= RNNRT_MOST) return NULL;
    size_t whole = (bytes + !bytes + LINE - 1) / LINE * LINE;
    void *p = from->allocate       ? from->allocate(from->context, whole, LINE)
              : machine_has(whole) ? aligned_alloc(LINE, whole)
                                   : NULL;
    if (p) memset(p, 0, bytes);
    return p;
}

void rnnrt_give(const struct rnnrt_allocator *from, void *memory) {
    if (!memory) return;
    if (from->allocate) from->release(from->context, memory);
    else free(memory);
}
