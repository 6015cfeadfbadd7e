"""Encode a reference once, save it, and use it with several seeds."""

from pathlib import Path

import torch

import vap

DEMO = Path(vap.__file__).parent / "bundled" / "demo"

pipeline = vap.load_pipeline("vap-mini")
pipeline.encode_video_prompt(DEMO / "reference.mp4").save("effect.safetensors")

effect = vap.VideoPrompt.load("effect.safetensors")
for seed in (1, 2):
    frames = pipeline(
        DEMO / "image.png",
        "a subject in the new scene",
        video_prompt=effect,
        generator=torch.Generator().manual_seed(seed),
    ).frames[0]
    vap.write_video(frames, f"seed-{seed}.mp4", fps=pipeline.defaults.fps)
