"""The answers of every case to the bit: what tests/data/hashes.json holds is the order of operations itself.

A tolerance does not see a sum taken in another order on one instruction set. These hashes do, on a machine
that has that one alone.
"""

import numpy as np
import pytest
import record_hashes

from rnnrt import _engine, layers


def fuses(isa):
    """Whether the table rounds a product and a sum once. Scalar code does so where the compiler was told of a
    hardware fma.
    """
    a = np.float32(1 + 2**-12)
    b = layers.GraphBuilder()
    weight = np.array([[1, a]] * 5, np.float32)
    b.output("y", b.add(layers.Dense, "dense", b.input("x", (2,)), weight=weight))
    return bool(record_hashes.rnnrt.Model(b.graph(), isa=isa)(np.array([[-(a * a), a]]))[0, 0])


@pytest.mark.parametrize("isa", _engine.isas())
def test_every_case_answers_with_the_recorded_bits(isa):
    if not fuses(isa):
        assert isa == "scalar"
        pytest.skip("this processor's scalar code was built without fma: it agrees with itself only")
    different = record_hashes.changed(record_hashes.recorded(), record_hashes.hashes(isa=isa))
    assert not different, "\n".join(different)
