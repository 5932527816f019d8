"""Windows over time and the bins of frames: networks as torch.onnx exports them answer as in torch."""

import io
import itertools
import warnings

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

from onnx_answers import imported
from torch import nn
from torch_modules import Call

from rnnrt import UnsupportedModelError

BINS = 12


def exported(module, example, time, folder):
    """The model of a file whose batch and time are free."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            out,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch", time: "time"}},
            opset_version=17,
            dynamo=False,
        )
    return imported(out.getvalue(), folder)


class Front(nn.Module):
    """``part`` of a picture, then a recurrent layer over one of its axes."""

    def __init__(self, part, time, channels):
        super().__init__()
        self.part, self.time = part, time
        shape = (1, channels, 20, BINS) if time == 2 else (1, channels, BINS, 20)
        made = part(torch.zeros(shape))
        self.rnn = nn.GRU(made.shape[1] * made.shape[5 - time], 5, batch_first=True)

    def forward(self, x):
        return self.rnn(self.part(x).permute(0, self.time, 1, 5 - self.time).flatten(2))[0]


PARTS = {
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), padding=(1, 2)), nn.ELU(), nn.Conv2d(4, 4, (2, 3), (1, 2), groups=2)
    ),
    "dilated": lambda: nn.Conv2d(3, 6, (2, 3), dilation=(3, 2), padding=(3, 1), groups=3, bias=False),
    "norms": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "pools": lambda: nn.Sequential(nn.MaxPool2d((1, 2)), nn.AvgPool2d((2, 1)), nn.MaxPool2d(3, 1, 1)),
    "average": lambda: nn.AvgPool2d((3, 4), (1, 2), (1, 2), count_include_pad=False),
    "residual": lambda: Call(lambda x, c: torch.relu(x + c(x)), nn.Conv2d(3, 3, 3, padding=1)),
    "joined": lambda: Call(lambda x, c: torch.cat([x, c(x)], 1), nn.Conv2d(3, 2, 3, padding=1)),
    "padded": lambda: nn.Sequential(nn.ConstantPad2d((2, 1, 2, 0), 0.5), nn.Conv2d(3, 4, 3)),
    "scaled": lambda: Call(lambda x, c: 0.5 * torch.tanh(c(x)) - 1, nn.Conv2d(3, 2, 3, padding=1)),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("time", [2, 3])
def test_a_front_end(name, time, tmp_path):
    torch.manual_seed(0)
    module = Front(PARTS[name](), time, 3)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    shape = lambda batch, n: (batch, 3, n, BINS) if time == 2 else (batch, 3, BINS, n)
    model = exported(module, torch.randn(shape(2, 20)), time, tmp_path)
    for n, batch in itertools.product((7, 20, 33), (1, 3)):
        x = torch.randn(shape(batch, n))
        with torch.no_grad():
            wanted = module(x).numpy()
        y = model(x.numpy())
        assert distance(wanted, y) <= TOLERANCE
        stream, frames = model.stream(batch_size=batch), np.moveaxis(x.numpy(), time, 1)
        parts = [stream.push(frames[:, a:b]) for a, b in ((0, 1), (1, 5), (5, n))] + [stream.flush()]
        assert np.concatenate(parts, 1).tobytes() == np.ascontiguousarray(y).tobytes()


def compared(module, shape, longer, time, folder):
    torch.manual_seed(0)
    model = exported(module, torch.randn(shape), time, folder)
    x = torch.randn(longer)
    with torch.no_grad():
        assert distance(module(x).numpy(), model(x.numpy())) <= TOLERANCE


def test_norms_over_bins_and_over_frames(tmp_path):
    """A batch norm whose channels are the bins of a picture of one channel; an instance norm."""
    forward = lambda x, norm, conv: conv(norm(x.transpose(1, 3)).transpose(1, 3)).mean(3)
    module = Call(forward, nn.BatchNorm2d(BINS), nn.Conv2d(1, 4, 3, padding=1))
    module.own[0].running_mean.normal_()
    compared(module, (2, 1, 9, BINS), (3, 1, 14, BINS), 2, tmp_path)
    norm = nn.Sequential(nn.InstanceNorm1d(5, affine=True), nn.Conv1d(5, 3, 3))
    compared(norm, (2, 5, 9), (3, 5, 14), 2, tmp_path)


@pytest.mark.parametrize("time", [1, 2])
def test_an_axis_of_channels_that_comes_and_goes(time, tmp_path):
    torch.manual_seed(0)
    convs = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
    mask = lambda x, a, b: torch.sigmoid(b(torch.relu(a(x.unsqueeze(1)))).squeeze(1))
    rnn = nn.GRU(BINS, 4, batch_first=True)
    turned = (lambda x: x) if time == 1 else lambda x: x.transpose(1, 2)
    module = Call(lambda x, a, b, rnn: rnn(turned(mask(x, a, b)))[0], *convs, rnn)
    shape = lambda batch, n: (batch, n, BINS) if time == 1 else (batch, BINS, n)
    model = exported(module, torch.randn(shape(2, 20)), time, tmp_path)
    for batch, n in ((1, 5), (3, 31)):
        x = torch.randn(shape(batch, n))
        with torch.no_grad():
            assert distance(module(x).numpy(), model(x.numpy())) <= TOLERANCE


def test_a_transposed_convolution_of_two_axes_is_refused(tmp_path):
    module = Front(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 3)), 2, 3)
    with pytest.raises(UnsupportedModelError, match="transposed convolution over two axes"):
        exported(module, torch.randn(2, 3, 20, BINS), 2, tmp_path)
