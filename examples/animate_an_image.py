"""Animate an image with the semantics of a reference video."""

from pathlib import Path

import vap

DEMO = Path(vap.__file__).parent / "bundled" / "demo"

pipeline = vap.load_pipeline("vap-mini")  # or "wan", "cogvideox": the released models
frames = pipeline(
    DEMO / "image.png",
    "a subject in the new scene",
    reference_videos=DEMO / "reference.mp4",
).frames[0]
vap.write_video(frames, "animated.mp4", fps=pipeline.defaults.fps)
