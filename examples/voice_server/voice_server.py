"""A WebSocket server that says live whether somebody speaks, with Silero VAD: one stream a connection, one
``step_many`` for all of them every 10 ms.

    pip install -r examples/voice_server/requirements.txt
    python tools/fetch_models.py silero_vad.onnx
    python examples/voice_server/voice_server.py models/silero_vad.onnx --port 8000
    python examples/voice_server/voice_client.py ws://127.0.0.1:8000/speech TALK.wav

A client sends float32 samples, little-endian, 16,000 a second and as many in a message as it likes. For every
512 of them it gets a text message {"frame": 0, "speech": 0.98}; {"reset": true} in it says that the
samples were not finite and the stream began anew. /metrics is for Prometheus. A client that sends more than
can be answered is closed with code 1013, one that sends what is not samples with 1003.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import math

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse
from voice_hub import Hub, Overloaded

import rnnrt

RATE, CHUNK, CONTEXT = 16000, 512, 64
FRAMES = rnnrt.frontends.Frames(CONTEXT + CHUNK, CHUNK, padding=(CONTEXT, 0))


def load(path):
    """Silero VAD for 16 kHz; its frames are 512 new samples after the last 64 of the frame before."""
    return rnnrt.from_onnx(
        path,
        state={"state": "stateN"},
        constants={"sr": RATE},
        shapes={"input": (None, CONTEXT + CHUNK)},
    )


def app_of(model, **limits):
    """The application of a model that takes frames of 576 samples and answers one number."""
    hub = Hub(model, **limits)

    @contextlib.asynccontextmanager
    async def life(app):
        ticking = asyncio.create_task(hub.run())
        yield
        ticking.cancel()

    app = FastAPI(lifespan=life)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics():
        return hub.metrics()

    @app.websocket("/speech")
    async def speech(socket: WebSocket):
        await socket.accept()
        try:
            connection = hub.join()
        except Overloaded as error:
            return await socket.close(1013, str(error))
        sender = asyncio.create_task(send(socket, connection))
        try:
            # In a task of its own: what waits below ten layers of a framework is woken through all of them.
            await asyncio.create_task(receive(socket, connection))
        finally:
            sender.cancel()
            hub.leave(connection)

    app.state.hub = hub
    return app


async def receive(socket, connection):
    held = bytearray(4 * CONTEXT)  # from where the next frame begins
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None or len(data) % 4:
                return await socket.close(1003, "a message is float32 samples")
            held += data
            try:
                while len(held) >= 4 * (CONTEXT + CHUNK):
                    connection.feed(np.frombuffer(held[: 4 * (CONTEXT + CHUNK)], "<f4"))
                    del held[: 4 * CHUNK]
            except Overloaded as error:
                return await socket.close(1013, str(error))


async def send(socket, connection):
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client may have gone
        while True:
            number, answer, reset = await connection.answer()
            speech = float(answer[0])
            said = {"frame": number, "speech": speech if math.isfinite(speech) else None}
            await socket.send_text(json.dumps(said | {"reset": True} if reset else said))


def serve(app, host, port):
    """Runs until it is stopped."""
    gc.freeze()  # what is there already is not searched for garbage again and again
    # Compression costs more than the network, and float samples do not shrink.
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        ws_max_size=1 << 18,
        ws_per_message_deflate=False,
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="silero_vad.onnx")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    serve(app_of(load(options.model)), options.host, options.port)


if __name__ == "__main__":
    main()
