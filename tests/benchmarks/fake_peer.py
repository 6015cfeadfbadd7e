"""A measured process without a model: speaks the protocol, logs its turns, fails when told to."""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def main() -> None:
    name, scale, turns, failure, job_file = sys.argv[1:]
    job = json.loads(Path(job_file).read_text())
    answer({"ready": {"seconds": 0.1, "torch": f"{name}'s"}})
    sys.stderr.write("loading took no time\n")
    for line in sys.stdin:
        request = json.loads(line)["run"]
        with Path(turns).open("a") as log:
            log.write(f"{name} {request['steps']}\n")
        if failure == "dies":
            sys.exit("the device was lost")
        if failure == "tells":
            answer({"error": "ValueError: no such thing"})
            return
        if request["latents"]:
            latents = float(scale) * np.ones((1, 2, 3), np.float32)
            save_file({"latents": latents}, request["latents"])
        stages = {"encode": 0.5, "denoise": float(request["steps"]), "decode": 0.25}
        peak = {"float32": 2000, "bfloat16": 1000}[job["dtype"]]
        answer({"stages": stages, "processor_stages": stages, "peak_memory_bytes": peak})


def answer(content: dict) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
