/* The words of the enumerations in rnnrt.h. Each stands at its own constant, so their order means nothing. */
#include "plan.h"

static const char *const kinds[] = {
#define RNNRT_WORD(word) [rnnrt_kind_##word] = #word,
    RNNRT_LAYERS(RNNRT_WORD)
#undef RNNRT_WORD
};

static const char *const functions[] = {
#define RNNRT_WORD(constant, word) [RNNRT_##constant] = #word,
    RNNRT_FUNCTION_LIST(RNNRT_WORD)
#undef RNNRT_WORD
};

static const char *const slots[RNNRT_MAX_OUTPUTS] = {"", [RNNRT_SLOT_H] = "h", [RNNRT_SLOT_C] = "c",
                                                     [RNNRT_SLOT_CELLS] = "cells"};

static const char *const norms[] = {
    [RNNRT_NORM_NONE] = "none", [RNNRT_NORM_GATES] = "gates", [RNNRT_NORM_JOINT] = "joint"};

static const char *const masked[] = {
    [RNNRT_UNMASKED] = "", [RNNRT_MASKED_HOLD] = "hold", [RNNRT_MASKED_ZERO] = "zero"};

#define WORD_OF(list, number) \
    (number >= 0 && (size_t)number < sizeof list / sizeof *list ? list[number] : NULL)

const char *rnnrt_kind_word(int32_t kind) { return WORD_OF(kinds, kind); }
const char *rnnrt_function_word(int32_t function) { return WORD_OF(functions, function); }
const char *rnnrt_slot_word(int32_t slot) { return WORD_OF(slots, slot); }
const char *rnnrt_norm_word(int32_t norm) { return WORD_OF(norms, norm); }
static const char *const statuses[] = {
    [-RNNRT_OK] = "ok",
    [-RNNRT_NO_MEMORY] = "there is not enough memory",
    [-RNNRT_BAD_LAYER] = "a layer is impossible",
    [-RNNRT_NO_ISA] = "the instruction set is unknown, or this processor lacks it",
    [-RNNRT_BAD_ID] = "an id is out of range",
    [-RNNRT_MISALIGNED] = "inputs that belong together have different numbers of frames",
    [-RNNRT_TOO_SHORT] = "the input is too short",
    [-RNNRT_NOT_STREAMABLE] = "the network needs its whole input first",
    [-RNNRT_ENDED] = "the sequence is over: reset the stream",
    [-RNNRT_BAD_STATE] = "the state is not that of a stream of this network",
    [-RNNRT_WRONG_LENGTH] = "the input has a fixed length",
    [-RNNRT_CANCELLED] = "the call was cancelled",
    [-RNNRT_OUT_OF_PHASE] = "the rows began at different times",
    [-RNNRT_NO_FILE] = "the file cannot be read",
    [-RNNRT_BAD_FILE] = "not a .rnnrt file, or a damaged one",
    [-RNNRT_OLD_FILE] = "an older rnnrt wrote the file: rnnrt convert old.rnnrt -o new.rnnrt",
    [-RNNRT_NEWER_FILE] = "a newer rnnrt wrote the file: update rnnrt",
    [-RNNRT_NEEDS_LENGTH] = "a layer's padding depends on how long the input is",
};

const char *rnnrt_status_text(int status) {
    return status <= 0 && (size_t)-(ptrdiff_t)status < sizeof statuses / sizeof *statuses
               ? statuses[-(ptrdiff_t)status]
               : "";
}

const char *rnnrt_masked_word(int32_t output) { return WORD_OF(masked, output); }
