"""examples/voice_server: one model, many live connections. The hub alone under asyncio, then the server on
loopback with clients of its own. Nothing here is timed.
"""

import asyncio
import contextlib
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.graph import GraphBuilder
from rnnrt.layers import GRU, Dense

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "voice_server"
BOUND = 60  # seconds that nothing here comes near; what hangs fails


def network(width):
    """A GRU and one number a frame, of which small differences of the input can be told."""
    draw = np.random.default_rng(0).standard_normal
    b = GraphBuilder()
    x = b.input("x", (width,))
    gru = b.add(GRU, "gru", x, weight=draw((24, width)) / width**0.5, recurrent_weight=draw((24, 8)) / 3)
    b.output("y", b.add(Dense, "dense", gru, weight=draw((1, 8)), activation="sigmoid"))
    return rnnrt.from_graph(b.graph())


@pytest.fixture
def imported(monkeypatch):
    """f(name): a module of the example, imported as its scripts import one another."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if name.startswith("voice_"):
            del sys.modules[name]


def running(hub, scenario):
    """What ``scenario()`` returns while the hub ticks."""

    async def both():
        ticking = asyncio.create_task(hub.run())
        async with asyncio.timeout(BOUND):
            made = await scenario()
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        return made

    return asyncio.run(both())


# ---- the hub -----------------------------------------------------------------------------------------------


def test_many_connections_get_their_own_answers_whatever_comes_when(imported):
    """Frames come in bursts, connections come and go: the bits are those of the model alone."""
    hub = imported("voice_hub").Hub(network(5), tick=0.001)
    sounds = np.random.default_rng(1).standard_normal((40, 30, 5)).astype(np.float32)

    async def talk(k):
        rng = np.random.default_rng(k)
        connection, sent, heard = hub.join(), 0, []
        while len(heard) < 30 - k % 3:
            for _ in range(rng.integers(0, 4)):
                if sent < 30 - k % 3:
                    connection.feed(sounds[k, sent])
                    sent += 1
            while len(heard) < sent and rng.random() < 0.8:
                heard.append(await connection.answer())
            await asyncio.sleep(0.001 * rng.integers(0, 3))
        hub.leave(connection)
        return heard

    async def scenario():
        return await asyncio.gather(*map(talk, range(40)))

    for k, heard in enumerate(running(hub, scenario)):
        assert [number for number, *_ in heard] == list(range(30 - k % 3))
        assert (
            np.array([answer for _, answer, _ in heard]).tobytes()
            == hub.model(sounds[k])[: len(heard)].tobytes()
        )
    assert hub.frames == sum(30 - k % 3 for k in range(40)) and hub.resets == 0
    assert "voice_connections 0\n" in hub.metrics()


def test_a_stream_that_is_not_finite_begins_anew_and_no_other_notices(imported):
    hub = imported("voice_hub").Hub(network(5), tick=0.001)
    x = np.random.default_rng(2).standard_normal((2, 9, 5)).astype(np.float32)
    x[0, 3, 2] = np.nan

    async def scenario():
        pair = [hub.join(), hub.join()]
        for k in range(9):
            for connection, frames in zip(pair, x):
                connection.feed(frames[k])
        return [[await c.answer() for _ in range(9)] for c in pair]

    ill, well = running(hub, scenario)
    assert [reset for *_, reset in ill] == [k == 3 for k in range(9)] and not any(r for *_, r in well)
    assert (np.array([y for _, y, _ in well]) == hub.model(x[1])).all()
    assert (np.array([y for _, y, _ in ill[:3]]) == hub.model(x[0, :3])).all()
    assert (np.array([y for _, y, _ in ill[4:]]) == hub.model(x[0, 4:])).all()
    assert hub.resets == 1 and "voice_resets_total 1\n" in hub.metrics()


def test_what_waits_is_bounded(imported):
    module = imported("voice_hub")
    hub = module.Hub(network(5), most_connections=2, most_waiting=3)

    async def scenario():
        first, _ = hub.join(), hub.join()
        with pytest.raises(module.Overloaded, match="2 connections"):
            hub.join()
        with pytest.raises(module.Overloaded, match="3 frames"):
            for _ in range(4):
                first.feed(np.zeros(5, np.float32))
        hub.leave(first)
        hub.join()

    async def unread():
        connection = hub.join()
        with pytest.raises(module.Overloaded, match="3 frames or answers"):
            while True:
                connection.feed(np.zeros(5, np.float32))
                while connection._frames:
                    await asyncio.sleep(0)

    running(hub, scenario)
    hub = module.Hub(network(5), tick=0.001, most_waiting=3)
    running(hub, unread)
    assert hub.frames == 3


def test_refused_connections_are_counted(imported):
    module = imported("voice_hub")
    hub = module.Hub(network(5), most_connections=0)
    with pytest.raises(module.Overloaded):
        hub.join()
    assert hub.refused == 1 and "voice_refused_total 1\n" in hub.metrics()


def test_metrics_are_written_as_prometheus_reads_them(imported):
    module = imported("voice_hub")
    histogram = module.Histogram()
    for seconds in (0.0005, 0.0015, 0.0015, 3.0):
        histogram.add(seconds)
    lines = list(histogram.lines("t"))
    assert lines[:3] == ['t_bucket{le="0.001"} 1', 't_bucket{le="0.002"} 3', 't_bucket{le="0.005"} 3']
    assert lines[-3:] == ['t_bucket{le="+Inf"} 4', "t_sum 3.003500", "t_count 4"]


# ---- the server --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(app):
    """The address of an application that runs on loopback."""
    uvicorn = need("uvicorn")
    config = uvicorn.Config(app, port=0, log_level="error", ws_per_message_deflate=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        begun = time.monotonic()
        while not server.started:
            assert thread.is_alive() and time.monotonic() < begun + BOUND
            time.sleep(0.01)
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(BOUND)


def metrics_of(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=BOUND) as answer:
        return answer.read().decode()


@pytest.fixture
def server(imported):
    for name in ("fastapi", "uvicorn", "websockets"):
        need(name)
    return imported("voice_server")


def test_forty_live_clients_lose_no_answer_and_get_no_other_ones(server, imported):
    client, model = imported("voice_client"), network(server.CONTEXT + server.CHUNK)
    crowd = client.Crowd(40, 31)
    with served(server.app_of(model)) as address:
        asyncio.run(crowd.talk(f"ws://{address}/speech", 0.5))
        metrics = metrics_of(address)
    assert crowd.judged(model) == (40 * 31, 0, 0) and not crowd.failed and (crowd.heard > crowd.sent).all()
    assert "voice_frames_total 1240\n" in metrics and "voice_resets_total 0\n" in metrics


def test_messages_of_any_length_make_the_same_frames(server):
    from websockets.sync.client import connect

    model = network(server.CONTEXT + server.CHUNK)
    samples = np.random.default_rng(3).standard_normal(10 * server.CHUNK).astype("<f4")
    wanted = model(server.FRAMES(samples)[None])[0, :, 0]
    with (
        served(server.app_of(model)) as address,
        connect(f"ws://{address}/speech", compression=None) as socket,
    ):
        for piece in np.split(samples, [1, 1, 511, 512, 513, 2000, 4000]):
            socket.send(piece.tobytes())
        said = [json.loads(socket.recv(BOUND)) for _ in wanted]
    assert said == [{"frame": k, "speech": float(y)} for k, y in enumerate(wanted)]


def test_the_judge_sees_lost_swapped_and_strange_answers(server, imported):
    client, model = imported("voice_client"), network(server.CONTEXT + server.CHUNK)

    def heard(speech):
        crowd = client.Crowd(*speech.shape)
        crowd.speech[:], crowd.heard[:] = speech, np.where(np.isnan(speech), np.nan, 1.0)
        return crowd

    samples = [np.resize(client.sound(k), 130 * server.CHUNK) for k in range(3)]  # they begin again within it
    right = np.stack([model(server.FRAMES(x)[None])[0, :, 0] for x in samples]).astype(float)
    assert all(len(set(frame)) == 3 for frame in right.T)  # a swap shows in every frame
    assert heard(right).judged(model) == (390, 0, 0)
    swapped = right.copy()
    swapped[:2, 7] = right[1::-1, 7]
    assert heard(swapped).judged(model) == (388, 2, 0)
    late = right.copy()
    late[2, 1:], late[2, 0] = right[2, :-1], np.nan
    assert heard(late).judged(model)[1:] == (129, 1)
    reset = right.copy()
    reset[1, 5] = np.inf
    assert heard(reset).judged(model) == (389, 1, 0)
    strange = heard(right)
    strange.strange = 1
    assert strange.judged(model) == (390, 1, 0)


class Spoken:
    """A socket on which so many messages have come."""

    def __init__(self, *messages):
        self._messages = list(messages)

    async def recv(self):
        return json.dumps(self._messages.pop(0))


def test_answers_to_what_was_not_asked_are_counted(imported):
    for name in ("fastapi", "uvicorn", "websockets"):
        need(name)
    crowd = imported("voice_client").Crowd(1, 4)
    crowd.sent[0, :3] = 0.0
    said = [{"frame": k, "speech": 0.5} for k in (0, 0, 3, -1)]
    asyncio.run(crowd._listen(0, Spoken(*said)))
    assert crowd.strange == 3 and np.isnan(crowd.heard).sum() == 3


def test_a_client_that_sends_nonsense_is_closed_and_nan_is_answered(server):
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with served(server.app_of(network(server.CONTEXT + server.CHUNK), most_connections=1)) as address:
        for message in ("text", b"12345"):
            with connect(f"ws://{address}/speech", compression=None) as socket:
                socket.send(message)
                with pytest.raises(ConnectionClosed, match="1003"):
                    socket.recv(BOUND)
            while "voice_connections 0\n" not in metrics_of(address):
                time.sleep(0.01)
        with connect(f"ws://{address}/speech", compression=None) as socket:
            socket.send(np.full(512, np.nan, "<f4").tobytes())
            assert socket.recv(BOUND) == '{"frame": 0, "speech": null, "reset": true}'
            with (
                connect(f"ws://{address}/speech", compression=None) as second,
                pytest.raises(ConnectionClosed, match="1013"),
            ):
                second.recv(BOUND)
