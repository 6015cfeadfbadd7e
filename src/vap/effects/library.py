"""The library of effects: those that ship with the package, and those installed by the user."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from vap.effects.effect import Effect, read_effect
from vap.effects.manifest import MANIFEST
from vap.files.atomic import atomic_file, atomic_folder
from vap.files.names import BUNDLED_FOLDER, did_you_mean
from vap.files.shared import check_effect_size, download_effect, is_hub_id

SUFFIX = ".zip"
"""An effect as one file."""


def bundled_folder() -> Path:
    """Return the folder of the effects that ship with the package."""
    return BUNDLED_FOLDER / "effects"


def installed_folder() -> Path:
    """Return the user's folder of effects, which may not exist."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "video-as-prompt" / "effects"


def effects() -> list[Effect]:
    """Return all effects; an installed one takes the place of a bundled one of its name.

    Folders without a valid effect are skipped.
    """
    found: dict[str, Effect] = {}
    for place in (bundled_folder(), installed_folder()):
        for folder in sorted(place.glob("*")):
            try:
                effect = read_effect(folder)
            except (OSError, ValueError):
                continue
            found[effect.name] = effect
    return sorted(found.values(), key=lambda effect: (effect.category, effect.name))


def find_effect(name: str | Path) -> Effect:
    """Find an effect by its name or id, or read the one in a folder.

    Raises:
        FileNotFoundError: If there is no such effect.
    """
    text = str(name)
    if (Path(text) / MANIFEST).is_file():
        return read_effect(text)
    known = effects()
    for effect in known:
        if text in (effect.name, effect.id):
            return effect
    names = [effect.name for effect in known]
    raise FileNotFoundError(
        f"There is no effect {text!r}.{did_you_mean(text, names)} To list all, run `vap effect "
        "list`; to add one, `vap effect install`."
    )


def install(source: str | Path, *, replace: bool = False) -> Effect:
    """Install an effect from its folder or file into the user's library.

    Args:
        source: A folder with a manifest, a file that :func:`export` wrote, or ``owner/name`` on
            the Hub.
        replace: Replace an installed effect of the same name.

    Raises:
        FileExistsError: If one of that name is installed.
        ValueError: If it is not an effect, or is a file that may not be unpacked.
    """
    path = Path(source)
    if path.is_dir():
        return _install(read_effect(path), replace=replace)
    with tempfile.TemporaryDirectory() as folder:
        if is_hub_id(source):
            download_effect(str(source), Path(folder))
        else:
            unpack(path, Path(folder))
        return _install(read_effect(folder), replace=replace)


def remove(name: str) -> Path:
    """Remove an installed effect, and return the folder that is gone.

    Raises:
        FileNotFoundError: If none of that name is installed.
    """
    effect = find_effect(name)
    if effect.folder.parent != installed_folder():
        raise FileNotFoundError(
            f"{name!r} is not an installed effect (it is at {effect.folder}), so it cannot be "
            "removed."
        )
    shutil.rmtree(effect.folder)
    return effect.folder


def export(effect: Effect, path: str | Path) -> Path:
    """Write an effect as one file.

    Raises:
        ValueError: If the name does not end with :data:`SUFFIX`.
    """
    place = Path(path)
    if place.suffix.lower() != SUFFIX:
        raise ValueError(
            f"{place}: effects are exported as {SUFFIX} files. Use a name that ends with {SUFFIX}."
        )
    with (
        atomic_file(place) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for file in _files(effect.folder):
            # Equal effects make equal bytes.
            info = zipfile.ZipInfo(file.relative_to(effect.folder).as_posix())
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, file.read_bytes())
    return place


def unpack(path: Path, folder: Path) -> None:
    """Unpack an effect's file into an empty folder; nothing is written beside it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ZIP file, too large, or names files outside the folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no effect at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(path, entries)
            for entry in entries:
                place = folder / _inside(path, entry)
                place.parent.mkdir(parents=True, exist_ok=True)
                # zipfile stops at the size that the entry states, and then checks its sum.
                with archive.open(entry) as packed, place.open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"{path} is not a valid effect: {error}. Export it again.") from error
    except (OSError, RuntimeError) as error:  # names too long or twice; encrypted
        raise ValueError(f"{path} cannot be unpacked: {error}. Export it again.") from error


def _check_entries(path: Path, entries: Iterable[zipfile.ZipInfo]) -> None:
    check_effect_size(path, [entry.file_size for entry in entries])


def _inside(path: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """The place of an entry, which may not be outside the folder, nor a link."""
    name = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    unsafe = name.is_absolute() or ".." in name.parts or not name.parts
    if unsafe or set(entry.filename) & set("\\:\0") or kind not in (0, stat.S_IFREG):
        raise ValueError(f"{path}: {entry.filename!r} is not a plain file inside the effect.")
    return name


def _install(effect: Effect, *, replace: bool) -> Effect:
    place = installed_folder() / effect.name
    if place.exists() and not replace:
        raise FileExistsError(
            f"An effect {effect.name!r} is installed already. Remove it, or replace it (--replace)."
        )
    with atomic_folder(place, lambda _: True) as folder:
        for file in _files(effect.folder):
            copy = folder / file.relative_to(effect.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return read_effect(place)


def _files(folder: Path) -> list[Path]:
    """The files of an effect, links that lead out of it left out."""
    inside = folder.resolve()
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.resolve().is_relative_to(inside)
    ]
