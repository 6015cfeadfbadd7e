"""Compare the backbone alone, half strength, full strength, and guidance by the reference."""

from pathlib import Path

import vap

DEMO = Path(vap.__file__).parent / "bundled" / "demo"
WAYS = {
    "backbone-alone": {"strength": 0.0},
    "half": {"strength": 0.5},
    "as-trained": {"strength": 1.0},
    "further": {"reference_guidance_scale": 3.0},
}

pipeline = vap.load_pipeline("vap-mini")
effect = pipeline.encode_video_prompt(DEMO / "reference.mp4")
for name, way in WAYS.items():
    frames = pipeline(
        DEMO / "image.png", "a subject in the new scene", video_prompt=effect, **way
    ).frames[0]
    vap.write_video(frames, f"{name}.mp4", fps=pipeline.defaults.fps)
