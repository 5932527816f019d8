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
const char *rnnrt_masked_word(int32_t output) { return WORD_OF(masked, output); }
