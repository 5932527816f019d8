"""Modules of PyTorch that several tests are made of. It needs torch."""

from torch import nn


class Call(nn.Module):
    """A function as a module, with the modules it calls."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.own = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.own)
