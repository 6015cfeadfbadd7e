"""From a model's name to its folder: bundled, here, or downloaded by the Hub's own client."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vap.files.folders import RELEASED, check_folder, family_of

if TYPE_CHECKING:
    from vap.shapes import Family

BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"
DEFAULT_MODEL = "vap-mini"

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named."""

    name: str  # What to pass as the model
    alias: str | None  # A shorter name for it, if there is one
    family: Family  # Which variant
    where: str  # bundled or hub
    description: str  # One line


def known_models() -> list[ModelEntry]:
    """Models that this version knows by name; any other folder or Hub id works too."""
    bundled = [
        ModelEntry(folder.name, None, family_of(folder), "bundled", "ships with the package")
        for folder in sorted(BUNDLED_FOLDER.glob("*"))
        if (folder / "model_index.json").is_file()
    ]
    released = [
        ModelEntry(RELEASED["wan"], "wan", "wan", "hub", "20.7B parameters, 480×832, 49 frames"),
        ModelEntry(
            RELEASED["cogvideox"],
            "cogvideox",
            "cogvideox",
            "hub",
            "11.1B parameters, 480×720, 49 frames",
        ),
    ]
    return bundled + released


def full_name(model: str | Path) -> str:
    """The Hub id that a short name stands for; any other name as it is."""
    text = str(model)
    return text if bundled_model(text) else RELEASED.get(text, text)


def is_known(model: str) -> bool:
    """Whether a name stands for a bundled or released model, whatever folders there are."""
    return model in RELEASED or bundled_model(model) is not None


def hub_id(model: str | Path) -> str:
    """The Hub id of a model that is neither bundled nor a folder here."""
    text = full_name(model)
    if isinstance(model, str) and _HUB_ID.fullmatch(text):
        return text
    known = [entry.alias or entry.name for entry in known_models()]
    raise FileNotFoundError(
        f"There is no model {text!r}.{did_you_mean(text, known)} Give a pipeline folder, a Hub id "
        f"(owner/name), or one of: {', '.join(known)}."
    )


def resolve_folder(name_or_path: str | Path, variant: str | None = None) -> Path:
    """Find the pipeline folder of a model, and see that it is complete.

    A known name comes before a folder of the same name (``./name``). Only the model of a Hub id is
    ever downloaded, by the Hub's own client, into its own cache.
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
            f"{hub_id} needs a download of {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            f"free at {place}. Free some, or set HF_HOME to a folder on another disk."
        )


def check_model(model: str | Path) -> None:
    """Refuse a name that stands for no model."""
    if local_model(model) is None:
        hub_id(model)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean …?``, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def bundled_model(name: str) -> Path | None:
    """The folder of a model that ships with the package, or None."""
    # The names that there are, not the one that is asked for: no file may have that.
    indices = BUNDLED_FOLDER.glob("*/model_index.json")
    return next((index.parent for index in indices if index.parent.name == name), None)


def local_model(name_or_path: str | Path) -> Path | None:
    """The folder of a model that needs no download: bundled, or any folder here; or None."""
    text = str(name_or_path)
    return bundled_model(text) if is_known(text) else _folder(name_or_path)


def _folder(name_or_path: str | Path) -> Path | None:
    """The folder of that name, or None if there is none or the name is invalid."""
    try:
        folder = Path(name_or_path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):
        return None
