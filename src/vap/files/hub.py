"""From a model's name to its folder; a Hub id is downloaded by the Hub's own client."""

from __future__ import annotations

import shutil
from pathlib import Path

from vap.files.folders import RELEASED, check_folder
from vap.files.names import did_you_mean, hub_id, local_model


def resolve_folder(name_or_path: str | Path, variant: str | None = None) -> Path:
    """Find the pipeline folder of a model.

    Args:
        name_or_path: A known name (``vap-mini``, ``wan``, ``cogvideox``), a local folder
            (``./name`` for one with a known name), or a Hub id ``owner/name``. Only the model of
            a Hub id is ever downloaded, by the Hub's own client, into its own cache.
        variant: Of the weights to be loaded, such as ``fp16``.

    Raises:
        FileNotFoundError: If there is no such model, or files of it are missing.
    """
    folder = find_folder(name_or_path)
    check_folder(folder, variant)
    return folder


def find_folder(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The folder of a model, downloaded if need be; what is in it is not looked at."""
    return local_model(name_or_path) or _download(hub_id(name_or_path), revision)


def _download(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # No pickle is asked for.
    wanted = ["*.json", "*.safetensors", "*.model", "*.txt"]
    try:
        _check_disk(hub_id, revision, wanted)
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"{hub_id!r} could not be downloaded from the Hub: {str(error).rstrip('. ')}."
            f"{did_you_mean(hub_id, RELEASED.values())} Check the name and the connection, or give "
            "the path of a downloaded folder."
        ) from error


def _check_disk(hub_id: str, revision: str | None, wanted: list[str]) -> None:
    """Refuse a download that the disk has no room for."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import DryRunError

    try:
        files = snapshot_download(hub_id, revision=revision, allow_patterns=wanted, dry_run=True)
    except DryRunError:  # without a connection; what is in the cache may be all of it
        return
    needed = sum(file.file_size or 0 for file in files if file.will_download)
    place = Path(HF_HUB_CACHE).absolute()
    free = shutil.disk_usage(next(each for each in (place, *place.parents) if each.is_dir())).free
    if needed > free:
        raise ValueError(
            f"{hub_id} takes a download of {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free "
            f"at {place}. Free some, or set HF_HOME to a folder on another disk."
        )
