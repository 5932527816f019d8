"""Clients of voice_server.py: one that sends a recording as it would be spoken, or many that count.

    python examples/voice_server/voice_client.py ws://127.0.0.1:8000/speech TALK.wav
    python examples/voice_server/voice_client.py ws://127.0.0.1:8000/speech --clients 500 --seconds 30 \
        --model models/silero_vad.onnx

The many send messages of 32 ms of sounds that all differ, evenly spread over those 32 ms, and compare every
answer with what the model says alone: a lost one is missing, one that was swapped has other bits. They report
how long answers took, and how late the clients themselves were: a machine that cannot play them in time does
not measure the server.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import time

import numpy as np
from voice_server import CHUNK, FRAMES, RATE, load
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rnnrt.format import wav

#: Messages after which the sounds of the many begin again: 4 s.
PERIOD = 125


async def speak(address, samples, speed=1.0):
    """The answers to one sound, sent at ``speed`` times that of speech: [(said, seconds from sending)]."""
    answers, sent = [], []
    async with connect(address, compression=None, max_queue=None) as socket:

        async def listen():
            for _ in range(len(samples) // CHUNK):
                said = json.loads(await socket.recv())
                answers.append((said, time.perf_counter() - sent[said["frame"]]))

        async def talk():
            began = time.perf_counter()
            for k in range(len(samples) // CHUNK):
                await asyncio.sleep(began + k * CHUNK / RATE / speed - time.perf_counter())
                sent.append(time.perf_counter())
                await socket.send(samples[k * CHUNK : (k + 1) * CHUNK].astype("<f4").tobytes())

        async with asyncio.timeout(len(samples) / RATE / speed + 10):
            await asyncio.gather(talk(), listen())
    return answers


def sound(number):
    """Bursts of a voiced buzz in noise, another for every number: (PERIOD, CHUNK)."""
    rng = np.random.default_rng(number)
    t = np.arange(PERIOD * CHUNK) / RATE
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * t))
    buzz = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    loud = np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * t + number) > 0
    made = 0.3 * np.sign(buzz) * np.abs(buzz) ** 0.5 * loud + 0.01 * rng.standard_normal(len(t))
    return made.astype("<f4").reshape(PERIOD, CHUNK)


class Crowd:
    """Many clients on one event loop: one task plays their messages in turn, each client listens by itself.

    ``speech`` is what was answered, (clients, messages), NaN where nothing was; ``sent`` and ``heard`` are
    when, in seconds of one clock; ``strange`` counts messages that answer nothing that was asked, or once
    more, ``failed`` are the clients whose connection ended, ``late`` the most seconds that one was late.
    """

    def __init__(self, clients, messages):
        self.sounds = [sound(k) for k in range(clients)]
        self.speech, self.sent, self.heard = (np.full((clients, messages), np.nan) for _ in range(3))
        self.strange, self.late, self.failed = 0, 0.0, set()

    async def talk(self, address, speed=1.0, patience=10):
        """Plays all messages, and waits so many seconds for answers that are still missing."""
        clients, messages = self.speech.shape
        async with contextlib.AsyncExitStack() as opened:
            sockets = []
            for _ in range(clients):
                socket = connect(address, compression=None, max_queue=None)
                sockets.append(await opened.enter_async_context(socket))
            listening = [asyncio.create_task(self._listen(k, socket)) for k, socket in enumerate(sockets)]
            began = time.perf_counter()
            for k in range(messages * clients):
                due = began + k / clients * CHUNK / RATE / speed
                early = due - time.perf_counter()
                if early > 0.001 or k % 16 == 0:  # the loop's clock ticks in ms; one that is late listens too
                    await asyncio.sleep(max(0, early))
                self.late = max(self.late, -early)
                await self._send(k % clients, k // clients, sockets[k % clients])
            await asyncio.wait(listening, timeout=patience)

    async def _send(self, client, message, socket):
        if client not in self.failed:
            self.sent[client, message] = time.perf_counter()
            try:
                await socket.send(self.sounds[client][message % PERIOD].tobytes())
            except ConnectionClosed:
                self.failed.add(client)

    async def _listen(self, client, socket):
        speech, heard, sent = self.speech[client], self.heard[client], self.sent[client]
        try:
            for _ in range(len(speech)):
                said = json.loads(await socket.recv())
                k = said["frame"]
                if not 0 <= k < len(speech) or np.isnan(sent[k]) or not np.isnan(heard[k]):
                    self.strange += 1
                    continue
                heard[k] = time.perf_counter()
                speech[k] = np.inf if said["speech"] is None else said["speech"]
        except ConnectionClosed:
            self.failed.add(client)

    def judged(self, model, tolerance=0.0):
        """How many answers are right, wrong and lost, by what the model says of each sound alone."""
        clients, messages = self.speech.shape
        right = wrong = 0
        for k in range(clients):
            samples = np.resize(self.sounds[k], messages * CHUNK)
            same = np.abs(self.speech[k] - model(FRAMES(samples)[None])[0, :, 0]) <= tolerance
            right, wrong = right + same.sum(), wrong + (~same & ~np.isnan(self.heard[k])).sum()
        return int(right), int(wrong) + self.strange, int(np.isnan(self.heard).sum())

    def times(self):
        """How long answers took, in words."""
        took = 1000 * (self.heard - self.sent)[~np.isnan(self.heard)]
        shown = [f"p{p:g} {np.percentile(took, p):.1f}" for p in (50, 99, 99.9)] if len(took) else ["-"]
        return f"{', '.join(shown)} ms to an answer, messages at most {self.late * 1000:.1f} ms late"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("sound", nargs="?", help="a WAV file of 16 kHz")
    parser.add_argument("--clients", type=int, metavar="N")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--speed", type=float, default=1, help="times that of speech")
    parser.add_argument("--model", help="silero_vad.onnx, to compare with")
    options = parser.parse_args(arguments)
    if options.sound:
        heard = wav.read(options.sound)
        if heard.rate != RATE:
            parser.error(f"{options.sound} has {heard.rate} samples a second, not {RATE}")
        for said, took in asyncio.run(speak(options.address, heard.samples[:, 0])):
            speech = said["speech"]
            bar = "#" * round(40 * (speech or 0))
            print(f"{said['frame'] * CHUNK / RATE:7.2f} s  {speech:.3f}  {took * 1000:5.1f} ms  {bar}")
    elif options.clients and options.model:
        import uvloop  # a faster event loop, which uvicorn[standard] brings

        crowd = Crowd(options.clients, int(options.seconds * RATE / CHUNK))
        gc.freeze()  # what is there already is not searched for garbage again and again
        uvloop.run(crowd.talk(options.address, options.speed))
        right, wrong, lost = crowd.judged(load(options.model))
        print(f"{right} answers right, {wrong} wrong, {lost} lost, {len(crowd.failed)} clients failed")
        print(crowd.times())
        return 1 if wrong or lost else 0
    else:
        parser.error("give a sound, or --clients and --model")


if __name__ == "__main__":
    raise SystemExit(main())
