# A layer of the graph, as lowering.rows_of gives it, as the descriptor that the engine takes.


cdef const float *floats(row, name, list kept_alive) except? NULL:
    """The array ``name`` of a row, NULL where it has none; it lives as long as the list."""
    array = row.get(name)
    if array is None:
        return NULL
    array = np.ascontiguousarray(array, np.float32)
    kept_alive.append(array)
    return <const float *> cnp.PyArray_DATA(<cnp.ndarray> array)


cdef describe_layer(row, rnnrt_row *to, list kept_alive):
    """All of a row but the plan inside it; ``kept_alive`` takes the arrays that the descriptor points to."""
    to.kind = kind_number[row["kind"]]
    to.inputs = len(row["input"])
    for i, value in enumerate(row["input"]):
        to.input[i] = value
    to.input_size, to.output_size = row["input_size"], row["output_size"]
    to.timed, to.length = row["timed"], row["length"]
    describe_settings(row, to)
    to.weight = floats(row, "weight", kept_alive)
    to.recurrent_weight = floats(row, "recurrent_weight", kept_alive)
    to.bias = floats(row, "bias", kept_alive)
    to.recurrent_bias = floats(row, "recurrent_bias", kept_alive)
    to.projection = floats(row, "projection", kept_alive)
    to.gamma = floats(row, "gamma", kept_alive)
    to.beta = floats(row, "beta", kept_alive)
    to.mean = floats(row, "mean", kept_alive)
    to.start = floats(row, "start", kept_alive)
    if "index" in row:
        index = np.ascontiguousarray(row["index"], np.int32)
        kept_alive.append(index)
        to.index = <const int32_t *> cnp.PyArray_DATA(<cnp.ndarray> index)


cdef describe_settings(row, rnnrt_row *to):
    """What a layer sets, or what it is where the layer does not say."""
    to.units, to.kernel_size = row.get("units", 0), row.get("kernel_size", 0)
    to.stride, to.dilation, to.groups = row.get("stride", 1), row.get("dilation", 1), row.get("groups", 1)
    to.pad_left, to.pad_right, to.same = row.get("pad_left", 0), row.get("pad_right", 0), row.get("same", 0)
    to.reverse, to.reset_after, to.norm = row.get("reverse", 0), row.get("reset_after", 0), row.get("norm", 0)
    to.count_padding, to.epsilon = row.get("count_padding", 0), row.get("epsilon", 0.0)
    to.per_step, to.states, to.unpacked = row.get("per_step", 0), row.get("states", 0), row.get("unpacked", 0)
    to.mask, to.masked_output = row.get("mask", -1), row.get("masked_output", 0)
    to.value = row.get("value", 0.0)
    name, parameter = row.get("activation", ("linear", 0.0))
    to.activation.name, to.activation.parameter = function_number[name], parameter
    name, parameter = row.get("recurrent_activation", ("linear", 0.0))
    to.recurrent_activation.name, to.recurrent_activation.parameter = function_number[name], parameter
