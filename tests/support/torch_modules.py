"""Modules of PyTorch that several tests are made of. It needs torch."""

import torch
from torch import nn


class Parts(nn.Module):
    """A module of parts, tensors among them, and a function of it and the input."""

    def __init__(self, call, **parts):
        super().__init__()
        self.call = call
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.call(self, x)


class Call(nn.Module):
    """A function as a module, with the modules it calls."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.own = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.own)
