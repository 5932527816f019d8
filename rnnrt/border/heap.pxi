# How much of the heap a host in C needs for a network: counted by an allocator, as the C library asks for it.

cdef struct Heap:
    size_t bytes  # that are taken now
    size_t peak   # and were at most


cdef void *heap_take(void *context, size_t bytes, size_t alignment) noexcept nogil:
    cdef Heap *heap = <Heap *> context
    cdef void *memory = NULL
    # in front of what is given, without another alignment, stands its size
    if posix_memalign(&memory, 64, bytes + 64):
        return NULL
    (<size_t *> memory)[0] = bytes
    heap.bytes += bytes
    heap.peak = max(heap.peak, heap.bytes)
    return <char *> memory + 64


cdef void heap_release(void *context, void *memory) noexcept nogil:
    cdef size_t *start = <size_t *> (<char *> memory - 64)
    (<Heap *> context).bytes -= start[0]
    free(start)


def heap_of_file(bytes content, list names):
    """(at most while it loads, what then stays, what a stream adds at most): bytes that the C library asks an
    allocator for, of the bytes of a .rnnrt file, whose layers have ``names``.
    """
    cdef Heap heap = Heap(0, 0)
    cdef rnnrt_allocator memory = rnnrt_allocator(heap_take, heap_release, &heap)
    cdef rnnrt_plan *plan = NULL
    cdef rnnrt_stream *stream = NULL
    cdef rnnrt_error error
    cdef int status = rnnrt_load_memory_with(&plan, <const char *> content, len(content), &memory, &error)
    if status:
        raise_status(status, &error, names)
    cdef size_t loading = heap.peak, loaded = heap.bytes
    heap.peak = loaded
    status = rnnrt_stream_create(&stream, plan, 1, 0, False, False, &error)
    rnnrt_stream_free(stream)
    rnnrt_plan_free(plan)
    if status:
        raise_status(status, &error, names)
    return loading, loaded, heap.peak - loaded
