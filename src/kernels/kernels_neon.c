#include "../simd/target.h"
#include "kernels.h"
#if defined(__aarch64__) /* NEON is part of every such processor: no pragma */
#include "../simd/neon.h"
#include "bodies.h"
#endif
