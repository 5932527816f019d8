"""Clients of voice_server.py: one that sends a recording as it would be spoken, or many that count.

    python examples/voice_server/voice_client.py ws://127.0.0.1:8000/speech TALK.wav
    python examples/voice_server/voice_client.py ws://127.0.0.1:8000/speech --clients 500 --seconds 30 \
        --model models/silero_vad.onnx

The many send messages of 32 ms of sounds that all differ, and compare every answer with what the model says
alone: a lost one is missing, one that was swapped has other bits. They report how long answers took.
"""

import argparse
import asyncio
import json
import time

import numpy as np
from voice_server import CHUNK, FRAMES, RATE, load
from websockets.asyncio.client import connect

from rnnrt.format import wav


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


def sound(number, seconds):
    """Bursts of a voiced buzz in noise, another for every number."""
    rng = np.random.default_rng(number)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * t))
    buzz = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    loud = np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * t + number) > 0
    made = 0.3 * np.sign(buzz) * np.abs(buzz) ** 0.5 * loud + 0.01 * rng.standard_normal(len(t))
    return made.astype(np.float32)


async def many(address, clients, seconds, speed=1.0, spread=1.0):
    """[(sound, answers or the error)] of so many clients; they begin within ``spread`` seconds."""
    sounds = [sound(k, seconds) for k in range(clients)]

    async def one(k):
        await asyncio.sleep(spread * k / clients)
        return await speak(address, sounds[k], speed)

    made = await asyncio.gather(*map(one, range(clients)), return_exceptions=True)
    return list(zip(sounds, made))


def judge(model, results):
    """How many answers were right, wrong and lost, how many clients failed; the seconds of all answers."""
    right = wrong = lost = failed = 0
    seconds = []
    for samples, answers in results:
        wanted = model(FRAMES(samples)[None])[0, :, 0]
        if isinstance(answers, BaseException):
            failed, lost = failed + 1, lost + len(wanted)
            continue
        by_frame = {said["frame"]: said["speech"] for said, _ in answers}
        lost += len(wanted) - len(by_frame)
        same = sum(by_frame[k] == float(wanted[k]) for k in by_frame)
        right, wrong = right + same, wrong + len(by_frame) - same
        seconds += [took for _, took in answers]
    return right, wrong, lost, failed, np.array(seconds)


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
        results = asyncio.run(many(options.address, options.clients, options.seconds, options.speed))
        right, wrong, lost, failed, seconds = judge(load(options.model), results)
        shown = ", ".join(f"p{p:g} {np.percentile(seconds, p) * 1000:.1f} ms" for p in (50, 99, 99.9))
        print(f"{right} answers right, {wrong} wrong, {lost} lost, {failed} clients failed; {shown}")
        return 1 if wrong or lost else 0
    else:
        parser.error("give a sound, or --clients and --model")


if __name__ == "__main__":
    raise SystemExit(main())
