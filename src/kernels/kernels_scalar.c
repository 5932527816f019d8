#include "../simd/target.h"
#include "kernels.h"
#include "../simd/scalar.h"
#include "bodies.h"
