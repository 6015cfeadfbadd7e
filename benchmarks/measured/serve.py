"""The measured process's end of the protocol: a line of JSON in, a line of JSON out.

Requests are ``{"run": {"steps": N, "latents": PATH or null}}``; the first answer comes unasked,
when the model is loaded.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measured.gauges import PeakMemory, StageClock
from benchmarks.measured.job import Job


def serve(job: Job, load: Callable[[Job], Any], generate: Callable[[Any, Job, int], Any]) -> None:
    """Load a pipeline, then generate whenever asked to, until the input ends.

    Args:
        job: What to do.
        load: Builds the pipeline.
        generate: Runs it for so many steps and returns the final latents.
    """
    answers = _claim_stdout()
    try:
        torch.set_num_threads(job.threads)
        device = torch.device(job.device)
        started = time.perf_counter()
        pipeline = load(job)
        pipeline.set_progress_bar_config(disable=True)
        clock, memory = StageClock(pipeline, device), PeakMemory(device)
        ready = {"seconds": time.perf_counter() - started, "torch": torch.__version__}
        _answer(answers, {"ready": ready})
        for line in sys.stdin:
            request = json.loads(line)["run"]
            memory.reset()
            clock.start()
            latents = generate(pipeline, job, request["steps"])
            stages, processor_stages = clock.stop()
            if request["latents"] is not None:
                _save(latents, request["latents"])
            answer = {
                "stages": stages,
                "processor_stages": processor_stages,
                "peak_memory_bytes": memory.read(),
            }
            _answer(answers, answer)
    except Exception as error:  # noqa: BLE001 - whatever it was, the other end must hear of it
        traceback.print_exc()
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)


def _claim_stdout() -> Any:
    """Keep standard output for answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: Any, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def _save(latents: torch.Tensor, path: str) -> None:
    from safetensors.torch import save_file

    save_file({"latents": latents.detach().float().cpu().contiguous()}, path)
