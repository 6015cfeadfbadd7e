import time
from types import SimpleNamespace

import torch
from benchmarks.measured.gauges import PeakMemory, StageClock
from torch import nn

CPU = torch.device("cpu")


class Slow(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self) -> None:
        time.sleep(self.seconds)


def test_stages_end_and_begin_at_the_doors_of_encoders_and_decoder():
    vae = SimpleNamespace(encoder=Slow(0.02), decoder=Slow(0.08))
    pipeline = SimpleNamespace(vae=vae, text_encoder=Slow(0.02), image_encoder=None)
    clock = StageClock(pipeline, CPU)
    clock.start()
    pipeline.text_encoder()
    vae.encoder()
    vae.encoder()
    time.sleep(0.16)
    vae.decoder()
    vae.decoder()
    seconds, busy = clock.stop()
    assert 0.06 <= seconds["encode"] < seconds["denoise"]
    assert seconds["denoise"] >= 0.16
    assert seconds["decode"] >= 0.16
    assert sum(busy.values()) < 0.2


def test_without_a_decoder_all_after_encoding_is_denoising():
    vae = SimpleNamespace(encoder=Slow(0.0), decoder=Slow(0.0))
    clock = StageClock(SimpleNamespace(vae=vae, text_encoder=Slow(0.0)), CPU)
    clock.start()
    vae.encoder()
    time.sleep(0.02)
    seconds, _ = clock.stop()
    assert seconds["denoise"] >= 0.02 > seconds["decode"]


def test_peak_memory_sees_what_was_freed_and_forgets_when_reset():
    memory, size = PeakMemory(CPU), 200 << 20
    memory.reset()
    before = memory.read()
    ballast = torch.ones(size, dtype=torch.uint8)
    del ballast
    assert memory.read() > before + 0.8 * size
    memory.reset()
    assert memory.read() < before + 0.8 * size
