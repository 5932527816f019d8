# cython: freethreading_compatible=True
"""The border between Python and the C engine: plans, streams, and every check of shape, type and lifetime.

Nothing here loops over numbers: that is done in src/. A ``Plan`` is immutable and shared; a ``Stream``
belongs to one caller at a time. One module, so that its parts call one another as C does; each part is a file
of border/.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cimport numpy as cnp
import numpy as np

from math import prod
from types import GenericAlias

from . import masks
from .errors import (
    DTypeError,
    ModelFileError,
    ResourceLimitError,
    RnnrtError,
    ShapeError,
    StateError,
    StreamBusyError,
    UnsupportedModelError,
)
from .ports import as_array, as_float32, readable

from ._c cimport *

cnp.import_array()

include "border/words.pxi"
include "border/failures.pxi"
include "border/callers.pxi"
include "border/long_calls.pxi"
include "border/arrays.pxi"
include "border/descriptors.pxi"
include "border/clocks.pxi"
include "border/core.pxi"
include "border/plan.pxi"
include "border/heap.pxi"
include "border/whole_calls.pxi"
include "border/short_calls.pxi"
include "border/stream.pxi"
include "border/stream_inputs.pxi"
include "border/stream_push.pxi"
include "border/stream_state.pxi"
include "border/rows.pxi"
include "border/step_rows.pxi"
