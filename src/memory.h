/* Private to src/: where memory comes from, which is malloc or an allocator of the caller's. */
#ifndef RNNRT_MEMORY_H
#define RNNRT_MEMORY_H

#include "rnnrt.h"

/* `count` objects of `size` bytes, for which any alignment of a plain object is enough; NULL where there is
 * no memory. `from` without functions is malloc. */
void *rnnrt_take(const struct rnnrt_allocator *from, size_t count, size_t size);
void *rnnrt_take_zeroed(const struct rnnrt_allocator *from, size_t count, size_t size);
/* Zeroed bytes at a multiple of 64. */
void *rnnrt_take_lines(const struct rnnrt_allocator *from, size_t bytes);
/* Back to where it was taken from; NULL is nothing. */
void rnnrt_give(const struct rnnrt_allocator *from, void *memory);

#endif
