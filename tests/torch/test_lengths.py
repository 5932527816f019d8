"""``lengths=`` and ``initial_state=`` on PyTorch programs: they act where the program packs, and where
forward puts its states.
"""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnrt
from rnnrt.errors import ShapeError, StateError, UnsupportedModelError

X, N = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(3)), torch.tensor([5, 2, 4])


def packed(x, n):
    return pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)


def real(x, n):
    """Truth values of (batch, time): whether a row has a frame."""
    return torch.arange(x.size(1))[None, :] < n[:, None]


def padded(p, total=None):
    return pad_packed_sequence(p, batch_first=True, total_length=total)[0]


class Packing(nn.Module):
    """A GRU and what a program does with its packed output; the bias makes the answer to zeros another than
    zero.
    """

    def __init__(self, program):
        super().__init__()
        self.gru, self.back, self.fc = (
            nn.GRU(4, 5, batch_first=True),
            nn.GRU(5, 3, batch_first=True, bidirectional=True),
            nn.Linear(4, 3),
        )
        self.conv, self.program = nn.Conv1d(4, 4, 3, stride=2), program
        nn.init.constant_(self.gru.bias_ih_l0, -2.0)

    def forward(self, x, n):
        return self.program(self, x, n)


def in_order(s, x, n):
    """Sorted by their lengths to be packed, and put back."""
    longest, order = torch.sort(n, 0, descending=True)
    y, h = s.gru(pack_padded_sequence(x[order], longest.cpu(), batch_first=True))
    _, back = order.sort()
    return padded(y, x.size(1))[back].sum(1) + h[:, back].squeeze(0)


def in_order_by_index(s, x, n):
    order = torch.argsort(n, descending=True)
    y, _ = s.gru(pack_padded_sequence(x.index_select(0, order), n[order], batch_first=True))
    return padded(y).transpose(0, 1).index_select(1, torch.argsort(order)).transpose(0, 1)


def left_in_order(s, x, n):
    longest, order = n.sort(descending=True)
    return padded(s.gru(pack_padded_sequence(x[order], longest, batch_first=True))[0])


def half_put_back(s, x, n):
    longest, order = n.sort(descending=True)
    y = padded(s.gru(pack_padded_sequence(x[order], longest, batch_first=True))[0], x.size(1))
    return y[order.sort()[1]], y


def put_back_over_time(s, x, n):
    longest, order = n.sort(descending=True)
    y = padded(s.gru(pack_padded_sequence(x[order], longest, batch_first=True))[0], x.size(1))
    return y[:, order.sort()[1]]


def beside_the_others(s, x, n):
    longest, order = n.sort(descending=True)
    y = padded(s.gru(pack_padded_sequence(x[order], longest, batch_first=True))[0], x.size(1))
    return (y[..., :4] + x)[order.sort()[1]]


PROGRAMS = {
    "cut to the longest row": lambda s, x, n: padded(s.gru(packed(x, n))[0]),
    "every frame kept": lambda s, x, n: padded(s.gru(packed(x, n))[0], x.size(1)),
    "mean of every frame": lambda s, x, n: padded(s.gru(packed(x, n))[0], x.size(1)).mean(1),
    "greatest of every frame": lambda s, x, n: padded(s.gru(packed(x, n))[0], x.size(1)).max(1)[0],
    "last frame": lambda s, x, n: padded(s.gru(packed(x, n))[0], x.size(1))[:, -1],
    "beside the mean of the input": lambda s, x, n: torch.cat([s.gru(packed(x, n))[1][-1], x.mean(1)], 1),
    "beside the input's last frame": lambda s, x, n: torch.cat([s.gru(packed(x, n))[1][-1], x[:, -1]], 1),
    "packed and padded without an RNN": lambda s, x, n: s.fc(padded(packed(x, n))),
    "then an RNN that is not packed": lambda s, x, n: s.back(padded(s.gru(packed(x, n))[0], x.size(1)))[0],
    "packed again": lambda s, x, n: padded(s.back(packed(torch.tanh(padded(s.gru(packed(x, n))[0])), n))[0]),
    "counted behind a stride": lambda s, x, n: padded(
        s.gru(packed(s.conv(x.transpose(1, 2)).transpose(1, 2), n))[0]
    ),
    "masked by the numbers of frames": lambda s, x, n: s.fc(x) * real(x, n).unsqueeze(-1),
    "masked beside what is packed": lambda s, x, n: (
        padded(s.gru(packed(x, n))[0], x.size(1)).mean(1)
        + (s.gru(x)[0] * real(x, n)[..., None].float()).sum(1)
    ),
    "attention that a mask keeps in the row": lambda s, x, n: (
        torch.softmax(
            s.fc(x)[..., 0].masked_fill(torch.arange(x.size(1)).view(1, -1) >= n.view(-1, 1), -1e9), 1
        )
        .unsqueeze(1)
        .bmm(x)
        .squeeze(1)
    ),
    "minus infinity past the end": lambda s, x, n: torch.softmax(
        s.fc(x).masked_fill(~real(x, n)[:, :, None], float("-inf")), 1
    ).sum(1),
    "numbers repeated for every row": lambda s, x, n: (
        s.fc(x) * (torch.arange(x.shape[1]).expand(x.shape[0], -1) < n.unsqueeze(1)).to(x.dtype).unsqueeze(2)
    ).amax(1),
    "the last frame of each row": lambda s, x, n: s.fc(x)[torch.arange(x.size(0)), n - 1],
    "the last state, gathered": lambda s, x, n: (
        s.gru(s.fc(x).repeat(1, 1, 2)[..., :4])[0]
        .gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 5))
        .squeeze(1)
    ),
    "the last frame of what is unpacked, time first": lambda s, x, n: padded(
        s.gru(packed(x, n))[0]
    ).transpose(0, 1)[n.long() - 1, torch.arange(n.size(0)), :],
    "sorted and put back": in_order,
    "sorted by argsort, cut to the longest row": in_order_by_index,
    "both": lambda s, x, n: (padded(s.gru(packed(x, n))[0]), padded(s.gru(packed(x, n))[0], x.size(1))),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("lengths", [[5, 2, 4], [4, 4, 4], [1, 3, 2]])
def test_lengths_act_where_the_program_packs_and_nowhere_else(name, lengths):
    torch.manual_seed(0)
    module = Packing(PROGRAMS[name]).eval()
    lengths = torch.tensor(lengths) if "stride" not in name else torch.tensor(lengths).clamp(max=4)
    with torch.no_grad():
        wanted = module(X, lengths)
    model = rnnrt.from_torch(module)
    assert "assumptions" not in model.graph.metadata
    made = model(X.numpy(), lengths=lengths.numpy())
    for y, w in zip(
        made if isinstance(made, tuple) else (made,), wanted if isinstance(wanted, tuple) else (wanted,)
    ):
        assert y.shape == tuple(w.shape) and np.abs(y - w.numpy()).max() < 1e-6
    if not isinstance(made, tuple):
        out = np.empty_like(made)
        assert model(X.numpy(), lengths=lengths.numpy(), out=out) is out and (out == made).all()
    with pytest.raises(ShapeError, match="traced with lengths"):
        model(X.numpy())


@pytest.mark.parametrize("program", [left_in_order, half_put_back, put_back_over_time, beside_the_others])
def test_rows_that_stay_in_the_order_of_their_lengths_are_refused(program):
    with pytest.raises(UnsupportedModelError):
        rnnrt.from_torch(Packing(program), example=(X, N))


class Counted(nn.Module):
    """Lengths that forward counts in its ids, and a sequence cut to the longest of them."""

    def __init__(self, whole):
        super().__init__()
        self.whole, self.table, self.gru = whole, nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        y = self.gru(packed(self.table(x), (x != 0).sum(1)))[0]
        return padded(y, x.size(1) if self.whole else None)


def test_an_answer_cut_to_a_length_that_forward_counts_is_refused_with_what_to_do():
    x = torch.arange(27).view(3, 9) % 8 + 1
    x[1, -1] = 0
    rnnrt.from_torch(Counted(True).eval(), example=x)
    with pytest.raises(UnsupportedModelError, match=r"total_length=x\.size\(1\)"):
        rnnrt.from_torch(Counted(False).eval(), example=x)


def test_a_row_without_frames_has_no_last_one():
    model = rnnrt.from_torch(Packing(PROGRAMS["the last frame of each row"]))
    with pytest.raises(ShapeError, match="row 1 is out of range; expected 1 to 9; found 0"):
        model(X.numpy(), lengths=[4, 0, 2])


def test_lengths_are_counted_in_the_frames_that_are_packed():
    torch.manual_seed(0)
    model = rnnrt.from_torch(Packing(PROGRAMS["counted behind a stride"]))
    with pytest.raises(ShapeError, match="row 1 is out of range; expected 0 to 4; found 5"):
        model(X.numpy(), lengths=[4, 5, 2])
    assert model.golden_by.startswith("torch") and model.verify() < 1e-6  # of rows of the greatest length


@pytest.mark.parametrize("end", ["last", "last_state", "mean", "max"])
def test_lengths_are_refused_where_nothing_packs(end):
    gru, fc = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)
    layers = {"gru": gru.state_dict(), "fc": fc.state_dict()}
    model = rnnrt.from_torch(layers, f"gru: GRU\n{end}\nfc: Linear")
    with pytest.raises(UnsupportedModelError, match="packs its rows.*each row alone, cut to its length"):
        model(X.numpy(), lengths=N.numpy())
    if end == "last_state":  # the way out
        by_row = [model(X[k, :n].numpy()) for k, n in enumerate(N)]
        packs = rnnrt.from_torch(layers, f"pack\ngru: GRU\n{end}\nfc: Linear")
        assert np.abs(packs(X.numpy(), lengths=N.numpy()) - by_row).max() < 1e-6


def test_a_live_module_that_does_not_pack_refuses_lengths_and_a_bare_rnn_takes_them():
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)
    with pytest.raises(UnsupportedModelError, match="this one does not"):
        rnnrt.from_torch(Tail())(X.numpy(), lengths=N.numpy())
    with torch.no_grad():
        wanted = padded(lstm(packed(X, N))[0], 9).numpy()
    for source in (lstm, lstm.state_dict()):
        assert np.abs(rnnrt.from_torch(source)(X.numpy(), lengths=N.numpy()) - wanted).max() < 1e-6
    one = rnnrt.from_torch(lstm.state_dict(), "LSTM num_layers=2")
    assert np.abs(one(X.numpy(), lengths=N.numpy()) - wanted).max() < 1e-6


class Tail(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


class OptionalLengths(Tail):
    def forward(self, x, n=None):
        if n is not None:
            x = packed(x, n)
        y = self.gru(x)[0]
        return y if n is None else padded(y)


def test_lengths_that_forward_may_go_without_are_optional():
    torch.manual_seed(0)
    module = OptionalLengths()
    model = rnnrt.from_torch(module)
    with torch.no_grad():
        assert np.abs(model(X.numpy()) - module(X).numpy()).max() < 1e-6
        assert np.abs(model(X.numpy(), lengths=N.numpy()) - module(X, N).numpy()).max() < 1e-6


class TwoLengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.GRU(4, 5, batch_first=True), nn.GRU(4, 5, batch_first=True)

    def forward(self, x, n, z, k):
        return self.a(packed(x, n))[1][-1] + self.b(packed(z, k))[1][-1]


class Siamese(nn.Module):
    """The greatest numbers of two sequences, where padding counts as very small."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(4, 5, bidirectional=True), nn.Linear(20, 3)

    def encoded(self, x, n):
        y = self.gru(pack_padded_sequence(x, n.cpu(), enforce_sorted=False))[0]
        y = pad_packed_sequence(y, total_length=x.size(0))[0]
        return torch.max(torch.where(y == 0, torch.full_like(y, -1e9), y), 0)[0]

    def forward(self, x, n, z, k):
        return self.out(torch.cat([self.encoded(x, n), self.encoded(z, k)], 1))


class Masked(TwoLengths):
    def encoded(self, x, n):
        y = self.a(x)[0] * real(x, n)[:, :, None]
        return y.sum(1)

    def forward(self, x, n, z, k):
        return self.encoded(x, n) - self.encoded(z, k)


@pytest.mark.parametrize("kind", [TwoLengths, Siamese, Masked])
@pytest.mark.parametrize("shown", [False, True], ids=["", "with an example"])
def test_two_inputs_have_lengths_of_their_own(kind, shown):
    torch.manual_seed(0)
    module = kind().eval()
    x, z = (torch.randn(3, n, 4) for n in (9, 7))
    x, z = (x, z) if kind is not Siamese else (x.transpose(0, 1).contiguous(), z.transpose(0, 1).contiguous())
    given = x, torch.tensor([5, 9, 2]), z, torch.tensor([3, 1, 7])
    model = rnnrt.from_torch(module, example=given if shown else None)
    with torch.no_grad():
        wanted = module(*given).numpy()
    arrays = [value.numpy() for value in given]
    assert distance(model(*arrays), wanted) <= TOLERANCE
    for wrong in () if kind is Masked else (0, 10, 2.5):
        arrays[1] = np.array([5, wrong, 2])
        with pytest.raises(ShapeError, match="input 'n': the length of row 1 is out of range"):
            model(*arrays)


SPECS = {
    "cut": ("pack\ngru: GRU\npad\nfc: Linear", lambda g, f: f(padded(g(packed(X, N))[0]))),
    "kept": (
        "pack\ngru: GRU\npad total_length\nmean\nfc: Linear",
        lambda g, f: f(padded(g(packed(X, N))[0], 9).mean(1)),
    ),
    "outside": (
        "pack\npad total_length\ngru: GRU\nfc: Linear",
        lambda g, f: f(g(padded(packed(X, N), 9))[0]),
    ),
    "final state": ("pack\ngru: GRU\nlast_state\nfc: Linear", lambda g, f: f(g(packed(X, N))[1][-1])),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_packs_where_it_says_so(name):
    torch.manual_seed(0)
    gru, fc = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)
    nn.init.constant_(gru.bias_ih_l0, -2.0)
    text, program = SPECS[name]
    with torch.no_grad():
        wanted = program(gru, fc).numpy()
    model = rnnrt.from_torch({"gru": gru.state_dict(), "fc": fc.state_dict()}, text)
    made = model(X.numpy(), lengths=N.numpy())
    assert made.shape == wanted.shape and np.abs(made - wanted).max() < 1e-6


@pytest.mark.parametrize(
    "text, match",
    [
        ("pack\ngru: GRU\npad\nlast\nfc: Linear", "line 4: pad cuts to the longest row.*pad total_length"),
        ("pack\ngru: GRU\nfc: Linear\npad", "line 3: Linear cannot run over a packed sequence"),
        ("gru: GRU\npad\nfc: Linear", "line 2: pad has no pack before it"),
        ("pack\ngru: GRU\nignore fc.*", "pack has no pad"),
        ("pack\ngru: GRU\npad 9\nfc: Linear", r"expected pad \[total_length\]; found 9"),
    ],
)
def test_a_spec_that_packs_wrongly_is_refused(text, match):
    layers = {"gru": nn.GRU(4, 5).state_dict(), "fc": nn.Linear(5, 3).state_dict()}
    with pytest.raises(UnsupportedModelError, match=match):
        rnnrt.from_torch(layers, text)


# ---- states ------------------------------------------------------------------------------------------------


class CellFirst(nn.Module):
    """The order of TensorFlow: (c, h)."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True)

    def forward(self, x, state):
        c, h = state
        return self.lstm(x, (h, c))[0]


class TwoOfAStack(nn.Module):
    """Two GRUs that read one stack of states from its end."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.GRU(4, 5, batch_first=True), nn.GRU(4, 5, batch_first=True)

    def forward(self, x, h):
        return torch.cat([self.a(x, h[1:2])[0], self.b(x, h[0].unsqueeze(0))[0]], -1)


class TwoArguments(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.lstm = nn.GRU(4, 5, batch_first=True), nn.LSTM(5, 3, batch_first=True)

    def forward(self, x, late, early):
        return self.lstm(self.gru(x, early)[0], late)[0]


def random_states(*shapes):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("kind", ["c before h", "stack", "arguments"])
def test_initial_state_is_taken_as_forward_takes_it(kind):
    torch.manual_seed(1)
    if kind == "c before h":
        module, (p, q) = CellFirst(), random_states((2, 3, 5), (2, 3, 5))
        given, state = [(p, q)], (p.numpy(), q.numpy())
        names = {
            "lstm.l0/c": p[0].numpy(),
            "lstm.l1/h": q[1].numpy(),
            "lstm.l0/h": q[0].numpy(),
            "lstm.l1/c": p[1].numpy(),
        }
    elif kind == "stack":
        module, (p,) = TwoOfAStack(), random_states((2, 3, 5))
        given, state, names = [p], p.numpy(), {"a.l0/h": p[1].numpy(), "b.l0/h": p[0].numpy()}
    else:
        module, (h, c, e) = TwoArguments(), random_states((1, 3, 3), (1, 3, 3), (1, 3, 5))
        given, state = [(h, c), e], ((h.numpy(), c.numpy()), e.numpy())
        names = {"lstm.l0/h": h[0].numpy(), "lstm.l0/c": c[0].numpy(), "gru.l0/h": e[0].numpy()}
    model = rnnrt.from_torch(module)
    assert "assumptions" not in model.graph.metadata
    with torch.no_grad():
        wanted = module(X, *given).numpy()
    assert np.abs(model(X.numpy(), initial_state=state) - wanted).max() < 1e-6
    assert np.abs(model(X.numpy(), initial_state=names) - wanted).max() < 1e-6
    with pytest.raises(StateError, match="another form than forward takes|wrong shape"):
        model(X.numpy(), initial_state=np.zeros((7, 4, 5), np.float32))


def test_a_forward_that_takes_no_states_has_no_form_for_them():
    with pytest.raises(StateError, match="does not define a form for initial states"):
        rnnrt.from_torch(Chain())(X.numpy(), initial_state=np.zeros((2, 3, 5), np.float32))


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.GRU(4, 5, batch_first=True), nn.GRU(5, 5, batch_first=True)

    def forward(self, x):
        return self.b(self.a(x)[0])[0]


def test_pytorchs_initial_states_have_pytorchs_form():
    module, x = nn.LSTM(3, 4, 2, bidirectional=True), torch.randn(5, 2, 3)
    model, h, c = rnnrt.from_torch(module), torch.randn(4, 2, 4), torch.randn(4, 2, 4)
    assert (
        distance(module(x, (h, c))[0].detach().numpy(), model(x.numpy(), initial_state=(h, c))) <= TOLERANCE
    )
    zeros = model(x.numpy(), initial_state=(torch.zeros_like(h), c))
    assert np.array_equal(model(x.numpy(), initial_state=(None, c)), zeros)
    for wrong in (h, (h,), (h, c, c), 5, ()):
        with pytest.raises(StateError, match="another form than forward takes"):
            model(x.numpy(), initial_state=wrong)
