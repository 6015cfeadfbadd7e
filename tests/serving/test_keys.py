from collections.abc import Iterator
from pathlib import Path

import pytest

from vap.serving.jobs.database import Database
from vap.serving.keys import Keys


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    database = Database(f"sqlite:///{tmp_path / 'keys.sqlite'}")
    yield database
    database.close()


def test_only_a_whole_key_that_is_not_revoked_passes(database: Database) -> None:
    keys = Keys(database)
    assert not keys.any()
    key, text = keys.create("studio", priority=2, requests_per_minute=60, max_queued=5)
    assert keys.check(text) == key
    assert (key.priority, key.requests_per_minute, key.max_queued) == (2, 60, 5)
    _, other = keys.create("other")
    mixed = text.rpartition("_")[0] + other[16:]
    for wrong in ("", text[:-1], text + "A", mixed, text.upper(), f"vap_{'0' * 12}_{'A' * 43}"):
        assert keys.check(wrong) is None
    assert keys.revoke(key.id).revoked_at is not None
    assert keys.check(text) is None
    assert [each.name for each in keys.list()] == ["studio", "other"]
    with pytest.raises(KeyError):
        keys.revoke("nobody")


def test_a_key_that_another_process_revokes_passes_for_a_second_at_most(
    database: Database,
) -> None:
    time = 0.0
    ours, theirs = Keys(database, lambda: time), Keys(database)
    assert not ours.any()
    key, text = theirs.create("new")
    assert not ours.in_memory(text)
    assert ours.check(text) == key  # a new one counts at once
    theirs.revoke(key.id)
    assert ours.in_memory(text)
    assert ours.check(text) == key
    time = 1.0
    assert not ours.in_memory(text)
    assert ours.check(text) is None
    assert ours.any(revoked=True)
    assert not ours.any()


def test_known_keys_are_checked_without_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(database, lambda: 0.0)
    key, text = keys.create("one")
    monkeypatch.delattr(database, "engine")
    monkeypatch.delattr(database, "_reads")
    for _ in range(3):
        assert keys.in_memory(text)
        assert keys.check(text) == key
        assert keys.in_memory("no key")
        assert keys.check("no key") is None
        assert keys.any()


def test_the_secret_of_a_key_is_not_stored(tmp_path: Path, database: Database) -> None:
    _, text = Keys(database).create("studio")
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.rpartition("_")[2].encode() not in stored


def test_webhook_secrets_differ_by_owner_and_last(database: Database) -> None:
    secrets = [Keys(database).webhook_secret(owner) for owner in ("a", "b", "a")]
    assert secrets[0] == secrets[2] != secrets[1]
    assert secrets[0].startswith("whsec_")
