"""Upload a package to the Hub with the Hub's own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vap.sharing.package import CARD, Package


def check_token() -> None:
    """Refuse to go on without a token of the Hub.

    Raises:
        ValueError: Saying how to get one.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise ValueError(
            "There is no token of the Hub here. Log in with `hf auth login` (a token with write "
            "access), or set HF_TOKEN."
        )


def existing_visibility(repository: str) -> str | None:
    """Whether a repository is ``private`` or ``public``; None if there is none.

    Raises:
        ConnectionError: If the Hub does not answer, or does not allow it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with _on_the_hub(repository, "looked up on"):
        try:
            private = HfApi().model_info(repository).private
        except RepositoryNotFoundError:
            return None
        return "private" if private else "public"


def push(package: Package, repository: str, *, private: bool) -> str:
    """Upload the files of a package and its card in one commit, and return where they are.

    Raises:
        ConnectionError: If the Hub does not answer, or does not allow it.
        ValueError: If the repository exists and is public, and should be private.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if private and existing_visibility(repository) == "public":
        raise ValueError(
            f"{repository} is a public repository. Give --public, or choose another name."
        )
    operations: list[Any] = [
        CommitOperationAdd(name, str(path)) for name, path in package.files.items()
    ]
    operations.append(CommitOperationAdd(CARD, package.card.encode()))
    with _on_the_hub(repository, "uploaded to"):
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository, operations, commit_message=f"Add this {package.kind}"
        )
    return str(commit.commit_url)


@contextmanager
def _on_the_hub(repository: str, done: str) -> Iterator[None]:
    """Say in one sentence what the client raises."""
    import httpx2

    try:
        yield
    except (OSError, httpx2.HTTPError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ConnectionError(
            f"{repository} could not be {done} the Hub: {said[0].rstrip('. ')}. Check the name, "
            "the token's access (`hf auth whoami`) and the connection."
        ) from error
