"""What a TFLite file is made of, as its schema (version 3, TensorFlow 2.19) numbers it, and its operators. Of
what is not read, the fields named here change no answer.
"""

from __future__ import annotations

from typing import NamedTuple

from ..containers.flatbuffers import fields

TABLES = {
    "Model": fields(
        version="0 u32",
        operator_codes="1 OperatorCode*",
        subgraphs="2 SubGraph*",
        description="3",
        buffers="4 Buffer*",
        metadata_buffer="5",
        metadata="6",
        signatures="7 Signature*",
    ),
    "OperatorCode": fields(old_code="0 i8", custom="1 text", version="2", code="3 i32"),
    "SubGraph": fields(
        tensors="0 Tensor*",
        inputs="1 i32*",
        outputs="2 i32*",
        operators="3 Operator*",
        name="4",
        debug_metadata_index="5",
    ),
    "Tensor": fields(
        shape="0 i32*",
        type="1 i8",
        buffer="2 u32",
        name="3 text",
        quantization="4 Quantization",
        is_variable="5 bool",
        sparsity="6 Sparsity",
        signature="7 i32*",
        has_rank="8",
        variant_tensors="9",
    ),
    "Quantization": fields(
        min="0",
        max="1",
        scale="2 f32*",
        zero_point="3 i64*",
        details_type="4 u8",
        details="5",
        dimension="6 i32",
    ),
    "Sparsity": fields(traversal_order="0", block_map="1", dim_metadata="2"),
    "Operator": fields(
        opcode="0 u32",
        inputs="1 i32*",
        outputs="2 i32*",
        options_type="3 u8",
        options="4 union",
        custom_options="5",
        custom_options_format="6",
        mutating="7",
        intermediates="8",
        large_custom_options_offset="9",
        large_custom_options_size="10",
        options2_type="11 u8",
        options2="12",
        debug_metadata_index="13",
    ),
    "Buffer": fields(data="0 bytes", offset="1 u64", size="2 u64"),
    "Signature": fields(inputs="0 NamedTensor*", outputs="1 NamedTensor*", key="2 text", subgraph="4 u32"),
    "NamedTensor": fields(name="0 text", tensor="1 u32"),
}

#: number -> what the bytes of a tensor of that type are
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    18: "bfloat16",
}
#: types of what is not an array of numbers
RESOURCE = 13
_OTHERS = {5: "string", 8: "complex64", 11: "complex128", 13: "resource", 14: "variant", 17: "int4"}
QUANTISED = ("int8", "uint8", "int16", "int4", "uint16")


def type_name(number):
    """The name of a type, for a message."""
    return TYPES.get(number) or _OTHERS.get(number) or f"type {number}"


class Kind(NamedTuple):
    """An operator: its ``word``, the number of its table of options in the union, 0 for none, and their
    fields.
    """

    word: str
    union: int = 0
    options: dict = {}  # noqa: RUF012 - never changed


_CLIPPED = {"cell_clip": "1 f32", "proj_clip": "2 f32"}


def _kind(word, union=0, **options):
    return Kind(word, union, fields(**options))


_WINDOW = {"padding": "0 i8", "stride_w": "1 i32", "stride_h": "2 i32"}
#: code -> Kind of what rnnrt knows
OPERATORS = {
    0: _kind("ADD", 11, fused="0 i8", pot_scale_int16="1"),
    1: _kind("AVERAGE_POOL_2D", 5, **_WINDOW, filter_w="3 i32", filter_h="4 i32", fused="5 i8"),
    2: _kind("CONCATENATION", 10, axis="0 i32", fused="1 i8"),
    3: _kind(
        "CONV_2D",
        1,
        **_WINDOW,
        fused="3 i8",
        dilation_w="4 i32 = 1",
        dilation_h="5 i32 = 1",
        quantized_bias_type="6",
    ),
    4: _kind(
        "DEPTHWISE_CONV_2D",
        2,
        **_WINDOW,
        depth_multiplier="3 i32",
        fused="4 i8",
        dilation_w="5 i32 = 1",
        dilation_h="6 i32 = 1",
    ),
    6: _kind("DEQUANTIZE", 38),
    7: _kind("EMBEDDING_LOOKUP"),
    8: _kind("FLOOR"),
    9: _kind(
        "FULLY_CONNECTED",
        8,
        fused="0 i8",
        weights_format="1 i8",
        keep_num_dims="2 bool",
        asymmetric_quantize_inputs="3",
        quantized_bias_type="4",
    ),
    14: _kind("LOGISTIC"),
    17: _kind("MAX_POOL_2D", 5, **_WINDOW, filter_w="3 i32", filter_h="4 i32", fused="5 i8"),
    18: _kind("MUL", 21, fused="0 i8"),
    19: _kind("RELU"),
    20: _kind("RELU_N1_TO_1"),
    21: _kind("RELU6"),
    22: _kind("RESHAPE", 17, new_shape="0 i32*"),
    25: _kind("SOFTMAX", 9, beta="0 f32"),
    28: _kind("TANH"),
    34: _kind("PAD", 22),
    35: _kind(
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        31,
        time_major="0 bool",
        fused="1 i8",
        asymmetric_quantize_inputs="2",
    ),
    36: _kind("GATHER", 23, axis="0 i32", batch_dims="1 i32"),
    37: _kind("BATCH_TO_SPACE_ND", 24),
    38: _kind("SPACE_TO_BATCH_ND", 25),
    39: _kind("TRANSPOSE", 26),
    40: _kind("MEAN", 27, keep_dims="0 bool"),
    41: _kind("SUB", 28, fused="0 i8", pot_scale_int16="1"),
    42: _kind("DIV", 29, fused="0 i8"),
    43: _kind("SQUEEZE", 30, squeeze_dims="0 i32*"),
    44: _kind(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        71,
        fused="0 i8",
        **_CLIPPED,
        time_major="3 bool",
        asymmetric_quantize_inputs="4",
        diagonal_recurrent_tensors="5 bool",
    ),
    45: _kind(
        "STRIDED_SLICE",
        32,
        begin_mask="0 i32",
        end_mask="1 i32",
        ellipsis_mask="2 i32",
        new_axis_mask="3 i32",
        shrink_axis_mask="4 i32",
        offset="5 bool",
    ),
    46: _kind(
        "BIDIRECTIONAL_SEQUENCE_RNN",
        70,
        time_major="0 bool",
        fused="1 i8",
        merge_outputs="2 bool",
        asymmetric_quantize_inputs="3",
    ),
    47: _kind("EXP", 33),
    49: _kind("SPLIT", 35, num_splits="0 i32"),
    50: _kind("LOG_SOFTMAX", 36),
    52: _kind(
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        69,
        fused="0 i8",
        **_CLIPPED,
        merge_outputs="3 bool",
        time_major="4 bool = 1",
        asymmetric_quantize_inputs="5",
    ),
    53: _kind("CAST", 37, in_type="0 i8", out_type="1 i8"),
    54: _kind("PRELU"),
    55: _kind("MAXIMUM", 39),
    57: _kind("MINIMUM", 39),
    58: _kind("LESS", 41),
    59: _kind("NEG", 42),
    60: _kind("PADV2", 43),
    61: _kind("GREATER", 44),
    62: _kind("GREATER_EQUAL", 45),
    63: _kind("LESS_EQUAL", 46),
    64: _kind("SELECT", 47),
    65: _kind("SLICE", 48),
    66: _kind("SIN"),
    67: _kind("TRANSPOSE_CONV", 49, **_WINDOW, fused="3 i8", quantized_bias_type="4"),
    69: _kind("TILE", 51),
    70: _kind("EXPAND_DIMS", 52),
    71: _kind("EQUAL", 53),
    72: _kind("NOT_EQUAL", 54),
    73: _kind("LOG"),
    74: _kind("SUM", 27, keep_dims="0 bool"),
    75: _kind("SQRT"),
    76: _kind("RSQRT"),
    77: _kind("SHAPE", 55, out_type="0 i8"),
    78: _kind("POW", 56),
    81: _kind("REDUCE_PROD", 27, keep_dims="0 bool"),
    82: _kind("REDUCE_MAX", 27, keep_dims="0 bool"),
    83: _kind("PACK", 59, values_count="0 i32", axis="1 i32"),
    84: _kind("LOGICAL_OR", 60),
    86: _kind("LOGICAL_AND", 62),
    87: _kind("LOGICAL_NOT", 63),
    88: _kind("UNPACK", 64, num="0 i32", axis="1 i32"),
    89: _kind("REDUCE_MIN", 27, keep_dims="0 bool"),
    90: _kind("FLOOR_DIV", 65),
    91: _kind("REDUCE_ANY", 27, keep_dims="0 bool"),
    92: _kind("SQUARE", 66),
    93: _kind("ZEROS_LIKE", 67),
    94: _kind("FILL", 68),
    95: _kind("FLOOR_MOD", 72),
    96: _kind("RANGE", 73),
    98: _kind("LEAKY_RELU", 75, alpha="0 f32"),
    99: _kind("SQUARED_DIFFERENCE", 76),
    100: _kind("MIRROR_PAD", 77, mode="0 i8"),
    101: _kind("ABS", 78),
    102: _kind("SPLIT_V", 79, num_splits="0 i32"),
    105: _kind("REVERSE_V2", 81),
    106: _kind("ADD_N", 82),
    108: _kind("COS", 84),
    110: _kind("RANK", 86),
    111: _kind("ELU"),
    114: _kind("QUANTIZE", 89),
    117: _kind("HARD_SWISH", 91),
    119: _kind("WHILE", 93, cond="0 i32", body="1 i32"),
    123: _kind("SELECT_V2", 98),
    126: _kind("BATCH_MATMUL", 101, adj_x="0 bool", adj_y="1 bool", asymmetric_quantize_inputs="2"),
    128: _kind("CUMSUM", 102, exclusive="0 bool", reverse="1 bool"),
    129: _kind("CALL_ONCE", 103, subgraph="0 i32"),
    130: _kind("BROADCAST_TO", 104),
    140: _kind("REDUCE_ALL", 27, keep_dims="0 bool"),
    142: _kind("VAR_HANDLE", 111, container="0 text", shared_name="1 text"),
    143: _kind("READ_VARIABLE", 112),
    144: _kind("ASSIGN_VARIABLE", 113),
    150: _kind("GELU", 116, approximate="0 bool"),
    151: _kind("DYNAMIC_UPDATE_SLICE", 117),
    152: _kind("RELU_0_TO_1"),
}

_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP
FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX
SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE
UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX
DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER
GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL
LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND
LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF
WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM
ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD
STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP
STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE
STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER
STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD
STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE
STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""
#: The words of all operators, by number.
NAMES = tuple(_NAMES.split())
