"""Attention between sequences of open length as PyTorch's programs write it, against PyTorch at lengths other
than the example's.
"""

import math

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import layers as L
from rnnrt.errors import UnsupportedModelError

torch = need("torch")
F, nn = torch.nn.functional, torch.nn


class Attending(nn.Module):
    """``function`` of the module and the queries, keys and values that an LSTM's frames become."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.function, self.rnn = function, nn.LSTM(5, 8, batch_first=True)
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 6)
        self.score, self.bare = nn.Linear(8, 1), nn.Linear(8, 1, bias=False)

    def forward(self, x):
        h = self.rnn(x)[0]
        return self.function(self, self.q(h), self.k(h), self.v(h))


def in_heads(m, q, k, v):
    b, t, _ = q.shape
    apart = lambda x: x.view(b, t, 2, -1).transpose(1, 2)
    weights = torch.softmax(apart(q) @ apart(k).transpose(-2, -1) / 2.0, -1)
    return (weights @ apart(v)).transpose(1, 2).reshape(b, t, 6)


def as_one_call(m, q, k, v):
    b, t, _ = q.shape
    apart = lambda x: x.view(b, t, 2, -1).transpose(1, 2)
    made = F.scaled_dot_product_attention(apart(q), apart(k), apart(v), scale=0.3)
    return made.transpose(1, 2).contiguous().view(b, t, 6)


def by_hand(m, q, k, v):
    e = q @ k.transpose(1, 2)
    e = torch.exp(e - e.amax(-1, keepdim=True))
    return (e / (e.sum(-1, keepdim=True) + 1e-8)) @ v


def additive(m, q, k, v, score="score"):
    e = torch.tanh(q.unsqueeze(2) + k.unsqueeze(1))
    return torch.bmm(torch.softmax(getattr(m, score)(e).squeeze(-1), -1), v)


SPELLINGS = {
    "bmm": lambda m, q, k, v: torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), v),
    "matmul": lambda m, q, k, v: F.softmax(q @ k.mT / math.sqrt(8), dim=-1) @ v,
    "einsum": lambda m, q, k, v: torch.einsum(
        "bqk,bkd->bqd", torch.softmax(torch.einsum("bqd,bkd->bqk", q, k) * 8**-0.5, -1), v
    ),
    "turned": lambda m, q, k, v: torch.bmm(
        v.transpose(1, 2), torch.softmax(torch.bmm(k, q.transpose(1, 2)), 1)
    ).transpose(1, 2),
    "other_way": lambda m, q, k, v: torch.bmm(torch.softmax(torch.bmm(q, k.mT), 1).mT, v),
    "one_call": lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v),
    "causal": lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "heads": in_heads,
    "heads_one_call": as_one_call,
    "function": lambda m, q, k, v: torch.bmm(torch.softmax(torch.sigmoid(torch.bmm(q, k.mT)), -1), v),
    "more": lambda m, q, k, v: torch.bmm(torch.softmax((torch.bmm(q, k.mT) + 3.0) * 0.5, -1), v),
    "by_hand": by_hand,
    "additive": additive,
    "additive_bare": lambda m, q, k, v: additive(m, q, k, v, "bare"),
    "additive_scaled": lambda m, q, k, v: torch.bmm(
        torch.softmax((torch.relu(q[:, :, None] - k[:, None] + 0.1) * m.bare.weight[0]).sum(-1), -1), v
    ),
}


def random(*shape):
    return lambda batch, more: torch.randn(batch, shape[0] + more, *shape[1:])


def check(module, *inputs, example=None):
    """The import of a module, compared with it at other batches and lengths than the example's."""
    module = module.eval()
    example = tuple(x(2, 0) for x in inputs)
    model = rnnrt.from_torch(module, example=example if len(example) > 1 else example[0])
    for batch in (1, 3):
        for more in (0, 5):
            xs = [x(batch, more + k * more) for k, x in enumerate(inputs)]
            with torch.no_grad():
                y = module(*xs)
            np.testing.assert_allclose(model(*(x.numpy() for x in xs)), y.numpy(), atol=2e-6)
    assert any(isinstance(x, L.Attention) for x in model.graph.layers)
    return model


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_attention_of_a_sequence_to_itself(spelling):
    model = check(Attending(SPELLINGS[spelling]), random(7, 5))
    rows = [np.float32(np.random.default_rng(k).standard_normal((n, 5))) for k, n in enumerate((4, 9, 4))]
    for x, y in zip(rows, model(rows)):
        assert (model(x[None])[0] == y).all()


class Translating(nn.Module):
    def __init__(self, additive):
        super().__init__()
        self.encoder, self.decoder = nn.GRU(4, 6, batch_first=True), nn.GRU(3, 6, batch_first=True)
        self.q, self.k, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 5)
        self.score, self.additive = nn.Linear(6, 1, bias=False), additive

    def forward(self, source, target):
        e, h = self.encoder(source)
        d, _ = self.decoder(target, h)
        if self.additive:
            score = self.score(torch.tanh(self.q(d).unsqueeze(2) + self.k(e).unsqueeze(1))).squeeze(3)
        else:
            score = torch.bmm(d, self.k(e).transpose(1, 2))
        return torch.tanh(self.out(torch.cat([torch.bmm(F.softmax(score, 2), e), d], 2)))


@pytest.mark.parametrize("additive", [False, True])
def test_a_decoder_attends_to_an_encoder_of_another_length(additive):
    model = check(Translating(additive), random(7, 4), random(5, 3))
    assert model.clocks == (("source",), ("target",))


class Masked(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.table, self.rnn = nn.Embedding(20, 6), nn.GRU(6, 6, batch_first=True)
        self.q, self.function = nn.Linear(6, 6), function

    def forward(self, ids):
        h, _ = self.rnn(self.table(ids))
        return self.function(self.q(h), h, ids != 0)


def weighted(score, h):
    return torch.bmm(torch.softmax(score, -1), h)


MASKS = {
    "fill": lambda q, h, m: weighted((q @ h.mT).masked_fill(~m[:, None], -math.inf), h),
    "fill_a_number": lambda q, h, m: weighted((q @ h.mT).masked_fill(m.unsqueeze(1) == 0, -1e9), h),
    "choose": lambda q, h, m: weighted(torch.where(m[:, None], q @ h.mT, torch.tensor(-1e4)), h),
    "add": lambda q, h, m: weighted(q @ h.mT + (1.0 - m[:, None].float()) * -1e4, h),
    "one_call": lambda q, h, m: F.scaled_dot_product_attention(q, h, h, attn_mask=m[:, None]),
}


def ids(batch, more):
    """Rows of ids that end with zeros; of three rows the last is all of them."""
    time = 7 + more
    made = torch.randint(1, 20, (batch, time)) * (
        torch.arange(time) < torch.arange(batch)[:, None] + time - 2
    )
    return made if batch < 3 else made * torch.tensor([[1], [1], [0]])


@pytest.mark.parametrize("mask", MASKS)
def test_masks_of_keys(mask):
    check(Masked(MASKS[mask]), ids)


class InHeads(nn.Module):
    def __init__(self, first=True, padded=False, **options):
        super().__init__()
        torch.manual_seed(4)
        self.rnn, self.first, self.padded = nn.LSTM(5, 8, batch_first=first), first, padded
        self.attention = nn.MultiheadAttention(8, 2, batch_first=first, **options)

    def forward(self, x):
        x = x if self.first else x.transpose(0, 1)
        h, _ = self.rnn(x)
        mask = {"key_padding_mask": x[..., 0] > 1} if self.padded else {}
        y = self.attention(h, h[..., : self.attention.kdim], h, need_weights=self.padded, **mask)[0] + h
        return y if self.first else y.transpose(0, 1)


@pytest.mark.parametrize(
    "options",
    [{}, {"first": False}, {"bias": False}, {"kdim": 6}, {"padded": True}],
    ids=lambda options: "-".join(options),
)
def test_multihead_attention(options):
    check(InHeads(**options), random(7, 5))


REFUSED = {
    "weights": (lambda m, q, k, v: torch.softmax(q @ k.mT, -1), "cannot be an answer"),
    "a_sum": (lambda m, q, k, v: (q @ k.mT).relu() @ v, "weights of attention"),
    "two_functions": (lambda m, q, k, v: torch.softmax((q @ k.mT).tanh().sigmoid(), -1) @ v, "once"),
    "queries_masked": (
        lambda m, q, k, v: torch.softmax((q @ k.mT).masked_fill(q[..., :1] > 0, -1e9), -1) @ v,
        "mask of the queries",
    ),
    "concat": (
        lambda m, q, k, v: torch.cat([q @ k.mT, q @ k.mT], -1),
        "concat is not supported on the scores",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_else_is_made_of_scores_is_refused(case):
    function, said = REFUSED[case]
    with pytest.raises(UnsupportedModelError, match=said):
        rnnrt.from_torch(Attending(function).eval(), example=torch.randn(2, 400, 5))


def test_heads_of_a_fixed_length_stand_beside_one_another_not_frame_by_frame():
    """Every query meets every key, also where the frames of both are numbers."""
    module = Attending(in_heads).eval()
    fixed = torch.export.export(module, (torch.randn(2, 7, 5),))
    model = rnnrt.from_pt2(fixed)
    x = torch.randn(2, 7, 5)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), atol=2e-6)
