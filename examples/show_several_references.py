"""Show several references of one effect, each with its caption."""

from pathlib import Path

import vap

DEMO = Path(vap.__file__).parent / "bundled" / "demo"

pipeline = vap.load_pipeline("vap-mini")
frames = pipeline(
    DEMO / "image.png",
    "a subject in the new scene",
    reference_videos=[DEMO / "reference.mp4", DEMO / "reference.mp4"],
    reference_prompts=["the effect on one subject", "the effect on another"],
).frames[0]
vap.write_video(frames, "several.mp4", fps=pipeline.defaults.fps)
