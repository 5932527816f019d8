# What C calls its kinds and functions, the instruction sets it has kernels for, and the BLAS it may use.


cdef dict numbers(const char *(*word)(int32_t) noexcept nogil):
    """{word: number} of an enumeration, as C names it."""
    cdef int32_t number = 0
    number_of_word = {}
    while word(number) != NULL:
        number_of_word[word(number).decode()] = number
        number += 1
    return number_of_word


cdef dict kind_number = numbers(rnnrt_kind_word)
cdef dict function_number = numbers(rnnrt_function_word)
#: What C calls its layers and functions, the slots of a row, the norms of a cell and what a masked frame
#: gives: {word: number}.
KINDS, FUNCTIONS = kind_number, function_number
SLOTS, NORMS = numbers(rnnrt_slot_word), numbers(rnnrt_norm_word)
MASKED = numbers(rnnrt_masked_word)
#: Most inputs of a row.
MAX_INPUTS, MAX_PORTS = RNNRT_MAX_INPUTS, RNNRT_PLAN_OUTPUTS


def isas():
    """Instruction sets this processor runs, best first."""
    cdef const char *names[8]
    cdef size_t count = rnnrt_isas(names, 8)
    return [names[i].decode() for i in range(count)]


def use_blas():
    """Take sgemm from scipy.linalg.cython_blas, through its capsule; done once, when backend="blas" is first
    asked for.
    """
    from .errors import require

    capsules = require("scipy.linalg.cython_blas", "blas", 'backend="blas"').__pyx_capi__
    capsule = capsules["sgemm"]
    rnnrt_use_sgemm(<rnnrt_sgemm *> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)))
