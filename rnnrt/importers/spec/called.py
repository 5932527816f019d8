"""Layers with tensors that a spec runs as the operators of traced programs: norms and PReLU."""

from __future__ import annotations

from ...errors import UnsupportedModelError
from ..axes.sizes import Clock
from ..axes.values import Constant, Network, Tensor, settled
from ..operators import table


def called(operator, axes="bft"):
    """The function of a kind, f(builder, name, x, tensors, **options) -> the reference it made: an operator
    over (batch, features, time), or another order.
    """

    def add(builder, name, x, tensors, **options):
        net = Network()
        net.builder, net.name = builder, name
        timed = builder.signal(x).time
        tensor = Tensor((x,), tuple(axes) if timed else ("b", "f"), Clock("input") if timed else None)
        constants = {n: Constant(f"{name}.{n}", a) for n, a in tensors.items()}
        return settled(net, _OPERATORS[operator](net, tensor, constants, **options)).reference

    return add


def _prelu(net, x, constants):
    return table.apply(net, "prelu", x=x, slope=constants["weight"])


def _scaled(constants):
    return {"scale": constants.get("weight"), "offset": constants.get("bias")}


def _group_norm(net, x, constants, num_groups=None, eps=1e-5):
    if type(num_groups) is not int:
        raise UnsupportedModelError("a GroupNorm must state its num_groups", fix="Write num_groups=N.")
    return table.apply(net, "group_norm", x=x, groups=num_groups, epsilon=eps, **_scaled(constants))


def _instance_norm(net, x, constants, eps=1e-5):
    arrays, mean = _scaled(constants), constants.get("running_mean")
    if mean is not None:
        arrays |= {"mean": mean, "variance": constants["running_var"], "own_statistics": False}
    return table.apply(net, "instance_norm", x=x, epsilon=eps, **arrays)


def _softplus(net, x, constants, inplace=False, **options):
    return table.apply(net, "softplus", x=x, **options)


def _adaptive(operator):
    return lambda net, x, constants, frames: table.apply(net, operator, x=x, frames=frames)


def _rms_norm(net, x, constants, eps=None):
    size = net.signal(x).width
    return table.apply(net, "rms_norm", x=x, size=size, epsilon=eps, scale=constants.get("weight"))


_OPERATORS = {
    "prelu": _prelu,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "softplus": _softplus,
    "adaptive_average_pool": _adaptive("adaptive_average_pool"),
    "adaptive_max_pool": _adaptive("adaptive_max_pool"),
}
