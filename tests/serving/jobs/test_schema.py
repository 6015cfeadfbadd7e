"""Tables of older versions become those of this one; each version is kept in ``schemas``.

After a change of tables, raise ``VERSION``, add its step, and write the new files with
``python -m tests.serving.jobs.test_schema``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from typer.testing import CliRunner

from tests.serving.postgresql import postgresql
from vap.cli.app import app
from vap.serving.api.app import create_app
from vap.serving.jobs import schema
from vap.serving.jobs.database import Database
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings

SCHEMAS = Path(__file__).parent / "schemas"
DIALECTS: dict[str, Any] = {"sqlite": sqlite_dialect, "postgresql": postgresql_dialect}
UrlOf = Callable[[], str]


def written(dialect: str) -> str:
    """The statements that make the tables of this version."""
    assert create_app  # its modules define all tables
    made = [
        statement
        for table in schema.metadata.sorted_tables
        for statement in (
            CreateTable(table),
            *(CreateIndex(each) for each in sorted(table.indexes, key=lambda each: each.name)),
        )
    ]
    texts = (str(each.compile(dialect=DIALECTS[dialect].dialect())).strip() for each in made)
    lines = "\n".join(f"{text};" for text in texts).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, UrlOf]]:
    """The name of a database, and a function that returns the URL of an empty one."""
    numbers = iter(range(100))
    if request.param == "sqlite":
        yield "sqlite", lambda: f"sqlite:///{tmp_path / str(next(numbers))}.sqlite"
        return
    with postgresql() as url:

        def another() -> str:
            name = f"empty{next(numbers)}"
            engine = sql.create_engine(
                url.replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as connection:
                connection.execute(sql.text(f"CREATE DATABASE {name}"))
            engine.dispose()
            return url.replace("/postgres", f"/{name}")

        yield "postgresql", another


def fill(url: str, text: str) -> None:
    """Run the statements of a file."""
    engine = sql.create_engine(url.replace("postgresql", "postgresql+psycopg", 1))
    with engine.begin() as connection:
        for statement in text.split(";\n"):
            if statement.strip():
                connection.execute(sql.text(statement))
    engine.dispose()


def tables(url: str) -> Any:
    """What is in a database, without the order of columns."""
    database = Database(url)
    with database.read() as connection:
        found = sql.inspect(connection)
        described = {
            table: (
                {each["name"]: (str(each["type"]), each["nullable"]) for each in columns},
                {each["name"]: tuple(each["column_names"]) for each in found.get_indexes(table)},
            )
            for (_, table), columns in found.get_multi_columns().items()
        }
    database.close()
    return described


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_tables_of_each_version_are_kept(dialect: str) -> None:
    for version in range(1, schema.VERSION + 1):
        kept = (SCHEMAS / f"{version}.{dialect}.sql").read_text()
        assert (kept == written(dialect)) == (version == schema.VERSION)


def test_tables_of_each_version_become_those_of_this_one(empty: tuple[str, UrlOf]) -> None:
    dialect, url_of = empty
    fresh = url_of()
    expected = tables(fresh)
    for version in range(1, schema.VERSION + 1):
        old = url_of()
        text = (SCHEMAS / f"{version}.{dialect}.sql").read_text()
        fill(old, f"{text}INSERT INTO schema_version VALUES ({version});\n")  # noqa: S608
        Database(old, upgrade=True).close()
        assert tables(old) == expected


def test_tables_without_a_version_are_of_the_first(empty: tuple[str, UrlOf]) -> None:
    dialect, url_of = empty
    url = url_of()
    text = (SCHEMAS / f"1.{dialect}.sql").read_text()
    fill(url, text + "DROP TABLE schema_version;\n")
    Database(url, upgrade=True).close()
    assert "schema_version" in tables(url)


def test_an_older_database_is_upgraded_only_when_asked_to(
    empty: tuple[str, UrlOf], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, url_of = empty
    settings = Settings(data=tmp_path, database=url_of())
    jobs = Jobs(settings)
    job = jobs.submit(VideoRequest(image="upload_" + "0" * 32))
    jobs.database.close()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
    steps = (
        "ALTER TABLE jobs ADD COLUMN color VARCHAR(16)",
        "UPDATE jobs SET color = 'red'",
    )
    last = schema.VERSION - 1
    monkeypatch.setattr(schema, "STEPS", {**schema.STEPS, last - 1: steps[:1], last: steps[1:]})
    with pytest.raises(ValueError, match="--upgrade"):
        Jobs(settings)
    Database(settings.database_url, upgrade=True).close()
    later = Jobs(settings)
    assert later.get(job.id) == job
    with later.database.read() as connection:
        assert connection.scalar(sql.text("SELECT color FROM jobs")) == "red"
    later.database.close()


def test_a_failed_upgrade_changes_nothing(
    empty: tuple[str, UrlOf], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url_of = empty
    url = url_of()
    before = tables(url)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        steps = ("ALTER TABLE jobs ADD COLUMN color VARCHAR(16)", "ALTER TABLE nothing ADD x")
        patch.setattr(schema, "STEPS", {schema.VERSION - 1: steps})
        with pytest.raises(sql.exc.DBAPIError):
            Database(url, upgrade=True)
    assert tables(url) == before


def test_a_newer_database_is_not_touched(
    empty: tuple[str, UrlOf], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url_of = empty
    url = url_of()
    Database(url).close()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION - 1)
    for upgrade in (False, True):
        with pytest.raises(ValueError, match="newer"):
            Database(url, upgrade=upgrade)


def test_vap_serve_upgrades_when_asked_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Jobs(settings).database.close()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    steps = ("ALTER TABLE jobs ADD COLUMN color VARCHAR(16)",)
    monkeypatch.setattr(schema, "STEPS", {schema.VERSION - 1: steps})
    monkeypatch.setattr("vap.cli.serve._listen", lambda given, **_: Jobs(given).database.close())
    command = ["serve", "--data", str(settings.data)]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--upgrade"]).exit_code == 0
    assert CliRunner().invoke(app, command).exit_code == 0


if __name__ == "__main__":
    for name in DIALECTS:
        (SCHEMAS / f"{schema.VERSION}.{name}.sql").write_text(written(name))
