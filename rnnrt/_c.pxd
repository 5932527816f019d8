"""What src/rnnrt.h declares, and what the border takes from Python's own header."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "rnnrt.h" nogil:
    enum:
        RNNRT_MAX_INPUTS, RNNRT_MAX_OUTPUTS, RNNRT_PLAN_OUTPUTS, RNNRT_MAX_CLOCKS
    const char *rnnrt_kind_word(int32_t)
    const char *rnnrt_function_word(int32_t)
    const char *rnnrt_slot_word(int32_t)
    const char *rnnrt_norm_word(int32_t)
    const char *rnnrt_masked_word(int32_t)
    enum rnnrt_status:
        RNNRT_OK, RNNRT_NO_MEMORY, RNNRT_BAD_LAYER, RNNRT_NO_ISA, RNNRT_BAD_ID, RNNRT_MISALIGNED
        RNNRT_TOO_SHORT, RNNRT_NOT_STREAMABLE, RNNRT_ENDED, RNNRT_BAD_STATE, RNNRT_WRONG_LENGTH
        RNNRT_CANCELLED, RNNRT_OUT_OF_PHASE, RNNRT_NO_FILE, RNNRT_BAD_FILE
    struct rnnrt_error:
        int32_t layer
        int64_t position, batch_row
        double value
        const char *text
        char name[48]
    struct rnnrt_function:
        int name
        float parameter
    struct rnnrt_plan
    struct rnnrt_stream
    struct rnnrt_layer_desc:
        int32_t kind, inputs, input_size, output_size, timed, units, kernel_size, stride, dilation, groups
        int32_t pad_left, pad_right, same, length, reverse, reset_after, norm, count_padding, per_step, states
        int32_t bins, bin_kernel_size, bin_stride, bin_dilation, bin_pad_left, bin_pad_right
        int32_t unpacked, masked_output, mask, causal, adds
        int32_t input[RNNRT_MAX_INPUTS]
        rnnrt_function activation, recurrent_activation
        float epsilon, value, masked_score
        const float *weight
        const float *recurrent_weight
        const float *bias
        const float *recurrent_bias
        const float *gamma
        const float *beta
        const float *projection
        const float *mean
        const float *start
        const int32_t *index
        const rnnrt_plan *inner
        int32_t like
    struct rnnrt_array:
        float *data
        ptrdiff_t time_stride, batch_stride, number_stride
        size_t frames
    struct rnnrt_state_value:
        int32_t value
        float *data
    struct rnnrt_between:
        int (*ask)(void *) noexcept nogil
        void *argument
        double done, asked
    ctypedef void rnnrt_sgemm(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *,
                              float *, float *, int *)
    size_t rnnrt_isas(const char **names, size_t room)
    void rnnrt_use_sgemm(rnnrt_sgemm *sgemm)

    rnnrt_status rnnrt_plan_create(rnnrt_plan **, const rnnrt_layer_desc *, size_t, const int32_t *, size_t,
                                   const char *, const rnnrt_plan *, rnnrt_error *)
    rnnrt_status rnnrt_load_memory(rnnrt_plan **, const void *, size_t, rnnrt_error *)
    struct rnnrt_allocator:
        void *(*allocate)(void *, size_t, size_t) noexcept nogil
        void (*release)(void *, void *) noexcept nogil
        void *context
    rnnrt_status rnnrt_load_memory_with(rnnrt_plan **, const void *, size_t, const rnnrt_allocator *,
                                        rnnrt_error *)
    const char *rnnrt_plan_layer(const rnnrt_plan *, int32_t)
    const char *rnnrt_status_text(int)
    void rnnrt_plan_threads(rnnrt_plan *, size_t)
    void rnnrt_plan_free(rnnrt_plan *)
    const char *rnnrt_plan_isa(const rnnrt_plan *)
    size_t rnnrt_plan_bytes(const rnnrt_plan *)
    double rnnrt_plan_work(const rnnrt_plan *, size_t)
    size_t rnnrt_plan_rows(const rnnrt_plan *, size_t)
    int32_t rnnrt_plan_obstacle(const rnnrt_plan *, bint, const char **)
    int32_t rnnrt_plan_clock(const rnnrt_plan *, size_t)
    size_t rnnrt_plan_due(const rnnrt_plan *, size_t, const size_t *, bint)
    rnnrt_status rnnrt_run(const rnnrt_plan *, size_t, const rnnrt_array *, rnnrt_array *, const int64_t *,
                           const rnnrt_state_value *, size_t, const rnnrt_state_value *, size_t, size_t,
                           rnnrt_between *, rnnrt_error *)

    rnnrt_status rnnrt_stream_create(rnnrt_stream **, const rnnrt_plan *, size_t, size_t, bint, bint,
                                     rnnrt_error *)
    rnnrt_status rnnrt_stream_size(const rnnrt_plan *, size_t, size_t, size_t *)
    void rnnrt_stream_free(rnnrt_stream *)
    void rnnrt_stream_set_once(rnnrt_stream *, size_t, const float *)
    rnnrt_status rnnrt_stream_push(rnnrt_stream *, const rnnrt_array *, rnnrt_array *, rnnrt_between *,
                                   rnnrt_error *)
    rnnrt_status rnnrt_stream_flush(rnnrt_stream *, rnnrt_array *, rnnrt_between *, rnnrt_error *)
    int rnnrt_stream_step(rnnrt_stream *, const float *, float *, rnnrt_error *)
    void rnnrt_stream_reset(rnnrt_stream *)
    uint64_t rnnrt_stream_position(const rnnrt_stream *, size_t)
    size_t rnnrt_stream_due(const rnnrt_stream *, size_t, const size_t *, bint)
    void rnnrt_stream_reset_row(rnnrt_stream *, size_t)
    bint rnnrt_stream_ended(const rnnrt_stream *)
    void rnnrt_stream_end(rnnrt_stream *)
    char *rnnrt_stream_row(const rnnrt_stream *, size_t)

    uint64_t rnnrt_row_position(const char *, size_t)
    uint64_t rnnrt_plan_phase(const rnnrt_plan *, uint64_t)
    size_t rnnrt_row_due(const rnnrt_plan *, const char *, bint, size_t, const size_t *, bint)
    rnnrt_status rnnrt_row_fits(const rnnrt_plan *, const char *, bint, const size_t *, bint, rnnrt_error *)
    rnnrt_status rnnrt_rows_push(const rnnrt_plan *, char *const *, size_t, bint, const rnnrt_array *, bint,
                                 rnnrt_array *, size_t *, rnnrt_between *, rnnrt_error *)
    struct rnnrt_state_array:
        int32_t layer, input
        const char *word
        size_t frames, width
        bint wide
    bint rnnrt_plan_state_array(const rnnrt_plan *, size_t, rnnrt_state_array *)
    void rnnrt_row_copy(const rnnrt_plan *, char *, const char *)
    bint rnnrt_row_finite(const rnnrt_plan *, const char *)
    void rnnrt_row_read(const rnnrt_plan *, char *, size_t, void *)
    void rnnrt_row_write(const rnnrt_plan *, char *, size_t, const void *)
    rnnrt_status rnnrt_row_seek(const rnnrt_plan *, char *, const uint64_t *, bint)

    struct rnnrt_spent:
        uint64_t nanoseconds, runs, frames, rows, made
    rnnrt_status rnnrt_plan_watch(rnnrt_plan *, rnnrt_spent *)
    double rnnrt_core_products(const char *, size_t)
    double rnnrt_core_reads(const char *, const float *, size_t, size_t)

cdef extern from "share.h" nogil:
    struct rnnrt_worth_of "rnnrt_worth":
        double call, waking, product, piece
    rnnrt_worth_of rnnrt_worth
    size_t rnnrt_pool_processors

cdef extern from "Python.h":
    void *PyCapsule_GetPointer(object, const char *) except NULL
    const char *PyCapsule_GetName(object) except? NULL
