"""What one would write instead: FastAPI and ONNX Runtime, a fused model and a session per domain, raw float32 in and out.

    peer_server.py FOLDER PORT PROCESSES     FOLDER holds DOMAIN.onnx, each for rows of 3 x 32 x 32
"""
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

folder, port, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
sessions = {
    path.stem: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for path in folder.glob("*.onnx")
}
app = FastAPI()


@app.post("/infer")
async def infer(request: Request) -> Response:
    session = sessions.get(request.headers.get("x-domain", ""))
    if session is None:
        raise HTTPException(404, "no such domain")
    pixels = np.frombuffer(await request.body(), np.float32).reshape(-1, 3, 32, 32)
    feeds = {session.get_inputs()[0].name: pixels}
    (logits,) = await run_in_threadpool(session.run, None, feeds)
    return Response(logits.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    # uvicorn takes uvloop and httptools where they are installed, and writes a line per request.
    uvicorn.run("peer_server:app", port=port, workers=processes, app_dir=str(Path(__file__).parent))
