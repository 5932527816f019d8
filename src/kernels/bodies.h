/* Every kernel, once, over the vf operations of the simd header included before; and the table that holds
 * them. */
#include "bodies_turn.h"
#include "bodies_product.h"
#include "bodies_grouped.h"
#include "bodies_overlapped.h"
#include "bodies_math.h"
#include "bodies_cell.h"
#include "bodies_steps.h"

#define NAME_OF(isa) NAME_PASTE(isa)
#define NAME_PASTE(isa) rnnrt_kernels_##isa
#define TEXT_OF(isa) TEXT_QUOTE(isa)
#define TEXT_QUOTE(isa) #isa

const struct rnnrt_kernels NAME_OF(ISA) = {
    .isa = TEXT_OF(ISA),
    .lanes = LANES,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .product = product,
    .product_pair = product_pair,
    .depthwise = depthwise,
    .grouped = grouped,
#if LANES == 16
    .product_overlapped = product_overlapped,
    .finish_overlapped = finish_overlapped,
#endif
    .activate = activate,
    .softmax = softmax,
    .normalize = normalize,
    .affine = affine,
    .turn = turn,
    .add = add,
    .multiply = multiply,
    .maximum = maximum,
    .pair = pair,
    .lstm = lstm,
    .gru = gru,
    .order_steps = order_steps,
    .lstm_steps = lstm_steps,
    .gru_steps = gru_steps,
    .lstm_cells = lstm_cells,
    .lerp = lerp,
    .multiply_add = multiply_add,
};
