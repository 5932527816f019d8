# What the engine's statuses are in Python: one error for each, with the layer, the frame and what to do.


cdef raise_status(int status, rnnrt_error *error, list names):
    where = f"layer {names[error.layer]!r}" if 0 <= error.layer < len(names) else None
    text = error.text.decode() if error.text != NULL else None
    if status == RNNRT_NO_MEMORY:
        raise ResourceLimitError("this asks for more memory than there is")
    if status == RNNRT_BAD_ID:
        raise ShapeError(
            "an id is out of range",
            where=f"{where}, row {error.batch_row}, time {error.position}",
            found=f"{error.value:g}",
            fix="Ids are whole numbers from 0 to the table's size less one.",
        )
    if status == RNNRT_MISALIGNED:
        raise ShapeError(
            "joins branches that make different numbers of frames",
            where=where,
            fix="Give every input as many frames as the others.",
        )
    if status == RNNRT_TOO_SHORT:
        raise ShapeError(
            "the input is too short, or not as long as the layer needs",
            where=where,
            fix="Give it as many frames as the network was made for.",
        )
    if status == RNNRT_ENDED:
        raise StateError(
            "the sequence is over: the stream was flushed, or a call on it failed half-way",
            fix="Call reset(), or set its state.",
        )
    if status == RNNRT_WRONG_LENGTH:
        too_few = error.value < error.position
        raise ShapeError(
            "the input has a fixed length",
            where=f"input {names[error.layer]!r}",
            expected=f"{error.position} frames in all",
            found=f"{error.value:.0f}",
            fix="Push the others first, or reset() the stream."
            if too_few
            else "flush() ends this sequence, reset() starts the next.",
        )
    if status == RNNRT_OUT_OF_PHASE:
        raise StateError("the rows began at different times and cannot run as one batch")
    if status == RNNRT_BAD_STATE:
        raise StateError(
            "the state does not hold together: its counts are not those of a stream of this model",
            fix="Use only what Stream.state gave.",
        )
    if status == RNNRT_NO_ISA:
        raise UnsupportedModelError(
            "this instruction set is unknown, or this processor lacks it", expected=f"one of {isas()}"
        )
    if status <= RNNRT_NO_FILE:
        name = error.name.decode(errors="replace")
        found = f" ({name})" if name else ""
        damaged = status in (RNNRT_NO_FILE, RNNRT_BAD_FILE)
        kind = ModelFileError if damaged else UnsupportedModelError
        raise kind(f"{text or rnnrt_status_text(status).decode()}{found}")
    raise RnnrtError(f"the engine refused the plan: {text}", where=where)
