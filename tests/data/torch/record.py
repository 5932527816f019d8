"""Records the small PyTorch files beside it, with the live module's answer; needs torch: ``python
record.py``.

net.pt, net_legacy.pt  a training checkpoint of one network, its RNN's weights views into one storage; zip and
pre-1.6 form net.safetensors        its state dict, rounded to bfloat16 net.npz                x (batch,
channels, time), y (batch, 5) and y_bfloat16 of the rounded network
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(3, 8, 5, stride=2, padding=2)
        self.bn = torch.nn.BatchNorm1d(8)
        self.gru = torch.nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.fc = torch.nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(self.gru(x.transpose(1, 2))[0][:, -1])


def main():
    torch.manual_seed(0)
    here, net, x = Path(__file__).parent, Net(), torch.randn(2, 3, 11)
    net(torch.randn(8, 3, 20) * 2 + 1)  # running statistics of their own
    net.eval()
    flat = torch.cat([p.detach().flatten() for p in net.gru.parameters()])  # as cuDNN leaves them
    start = 0
    for p in net.gru.parameters():
        p.data = flat[start : start + p.numel()].view(p.shape)
        start += p.numel()
    optimizer = torch.optim.Adam(net.parameters())
    checkpoint = {
        "epoch": 3,
        "model_state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "note": "recorded",
    }
    torch.save(checkpoint, here / "net.pt")
    torch.save(checkpoint, here / "net_legacy.pt", _use_new_zipfile_serialization=False)
    with torch.no_grad():
        y = net(x)
        rounded = {k: v.bfloat16() if v.is_floating_point() else v for k, v in net.state_dict().items()}
        save_file(rounded, here / "net.safetensors")
        net.load_state_dict({k: v.float() for k, v in rounded.items()})
        np.savez(here / "net.npz", x=x, y=y, y_bfloat16=net(x))


if __name__ == "__main__":
    main()
