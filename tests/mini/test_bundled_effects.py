from pathlib import Path

import numpy as np

from vap.effects.library import bundled_folder
from vap.media import read_clip
from vap.mini.bundled_effects import write_effects


def test_the_bundled_effects_are_made_again_from_their_seeds(tmp_path: Path) -> None:
    for effect in write_effects(tmp_path):
        shipped = bundled_folder() / effect.name
        assert effect.reference is not None
        again, before = (
            read_clip(path / "reference.mp4").frames for path in (effect.folder, shipped)
        )
        assert np.abs(again.astype(int) - before).mean() < 2  # encoders of other builds differ
        text = (effect.folder / "manifest.yaml").read_text()
        assert text == (shipped / "manifest.yaml").read_text()
