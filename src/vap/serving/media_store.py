"""Where uploads and videos are: a folder, or any fsspec URL."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import IO, Any

import fsspec


class MediaStore:
    """Files by key, such as ``videos/video_1/video.mp4``.

    Keys are made by the service: no text of a client becomes part of one unchecked.
    """

    def __init__(self, url: str) -> None:
        self._files: Any
        # A listing that is kept would hide what other processes write.
        self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._local = "file" in self._files.protocol

    def put(self, key: str, source: Path) -> None:
        """Store a file; whoever opens the key sees all of it or nothing."""
        place = self._place(key)
        self._files.makedirs(self._files._parent(place), exist_ok=True)
        if self._local:
            temporary = Path(f"{place}.part")
            shutil.copyfile(source, temporary)
            temporary.replace(place)
        else:
            self._files.put_file(str(source), place)

    def open(self, key: str) -> IO[bytes]:
        """Open a file to read.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self._files.open(self._place(key), "rb")

    def size(self, key: str) -> int:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: If there is none.
        """
        return int(self._files.size(self._place(key)))

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return bool(self._files.isfile(self._place(key)))

    def local(self, key: str, folder: Path) -> Path:
        """Return a local file with the contents of a key, copied into ``folder`` if need be.

        Raises:
            FileNotFoundError: If there is none.
        """
        if not self.exists(key):
            raise FileNotFoundError(f"There is no {key} in the media store.")
        if self._local:
            return Path(self._place(key))
        copy = folder / key.replace("/", "-")
        self._files.get_file(self._place(key), str(copy))
        return copy

    def delete(self, key: str) -> None:
        """Delete a file, or all files under a key; what is not there is no error."""
        place = self._place(key)
        if self._files.exists(place):
            self._files.rm(place, recursive=True)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Return the bytes of all files under a prefix, by key."""
        place = self._place(prefix) if prefix else self._root
        if not self._files.exists(place):
            return {}
        found = self._files.find(place, detail=True)
        start = len(self._root.rstrip("/")) + 1
        return {name[start:]: int(info["size"]) for name, info in found.items()}

    def _place(self, key: str) -> str:
        assert not {"", ".", ".."} & set(key.split("/")), key
        return f"{self._root.rstrip('/')}/{key}"
