# A layer of the graph, as lowering.descs_of gives it, as the descriptor that the engine takes.


cdef const float *floats(desc, name, list kept_alive) except? NULL:
    """The array ``name`` of a layer, NULL where it has none; it lives as long as the list."""
    array = desc.get(name)
    if array is None:
        return NULL
    array = np.ascontiguousarray(array, np.float32)
    kept_alive.append(array)
    return <const float *> cnp.PyArray_DATA(<cnp.ndarray> array)


cdef describe_layer(desc, rnnrt_layer_desc *to, list kept_alive):
    """All of a layer but the plan inside it; ``kept_alive`` takes the arrays that ``to`` points to."""
    to.kind = kind_number[desc["kind"]]
    to.inputs = len(desc["input"])
    for i, value in enumerate(desc["input"]):
        to.input[i] = value
    to.input_size, to.output_size = desc["input_size"], desc["output_size"]
    to.timed, to.length = desc["timed"], desc["length"]
    describe_settings(desc, to)
    to.weight = floats(desc, "weight", kept_alive)
    to.recurrent_weight = floats(desc, "recurrent_weight", kept_alive)
    to.bias = floats(desc, "bias", kept_alive)
    to.recurrent_bias = floats(desc, "recurrent_bias", kept_alive)
    to.projection = floats(desc, "projection", kept_alive)
    to.gamma = floats(desc, "gamma", kept_alive)
    to.beta = floats(desc, "beta", kept_alive)
    to.mean = floats(desc, "mean", kept_alive)
    to.start = floats(desc, "start", kept_alive)
    if "index" in desc:
        index = np.ascontiguousarray(desc["index"], np.int32)
        kept_alive.append(index)
        to.index = <const int32_t *> cnp.PyArray_DATA(<cnp.ndarray> index)


cdef describe_settings(desc, rnnrt_layer_desc *to):
    """What a layer sets, or what it is where the layer does not say."""
    to.units, to.kernel_size = desc.get("units", 0), desc.get("kernel_size", 0)
    to.stride, to.dilation, to.groups = desc.get("stride", 1), desc.get("dilation", 1), desc.get("groups", 1)
    to.pad_left, to.pad_right = desc.get("pad_left", 0), desc.get("pad_right", 0)
    to.bins, to.bin_kernel_size = desc.get("bins", 0), desc.get("bin_kernel_size", 0)
    to.bin_stride, to.bin_dilation = desc.get("bin_stride", 0), desc.get("bin_dilation", 0)
    to.bin_pad_left, to.bin_pad_right = desc.get("bin_pad_left", 0), desc.get("bin_pad_right", 0)
    to.same = desc.get("same", 0)
    to.reverse, to.reset_after = desc.get("reverse", 0), desc.get("reset_after", 0)
    to.norm = desc.get("norm", 0)
    to.count_padding, to.epsilon = desc.get("count_padding", 0), desc.get("epsilon", 0.0)
    to.per_step, to.states = desc.get("per_step", 0), desc.get("states", 0)
    to.unpacked = desc.get("unpacked", 0)
    to.mask, to.masked_output = desc.get("mask", -1), desc.get("masked_output", 0)
    to.value, to.masked_score = desc.get("value", 0.0), desc.get("masked_score", 0.0)
    to.causal, to.adds = desc.get("causal", 0), desc.get("adds", 0)
    name, parameter = desc.get("activation", ("linear", 0.0))
    to.activation.name, to.activation.parameter = function_number[name], parameter
    name, parameter = desc.get("recurrent_activation", ("linear", 0.0))
    to.recurrent_activation.name, to.recurrent_activation.parameter = function_number[name], parameter
