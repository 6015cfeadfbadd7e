"""Writing a pipeline folder: nothing is written that would load as another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vap.files.weights import disk_errors
from vap.models.stored_form import StoredFormMixin


class SavedAsStored:
    """Mixed into a diffusers pipeline."""

    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> Any:
        """Write all components as diffusers does; a text encoder that waits in its file is read."""
        transformer = getattr(self, "transformer", None)
        if isinstance(transformer, StoredFormMixin):
            transformer.check_stored_form()
        if getattr(self, "student", None) is not None:
            # It is merged: the folder itself has to say how many steps it takes, unguided.
            saved: Any = self
            saved.register_to_config(generation_defaults=saved.defaults.as_config())
            saved.steps_share = 1.0
        with disk_errors(Path(save_directory)):
            return super().save_pretrained(save_directory, *args, **options)  # type: ignore[misc]
