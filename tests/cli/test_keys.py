import json
from pathlib import Path

from typer.testing import CliRunner

from vap.cli.app import app


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    made = json.loads(run("create", "studio", "--priority", "3", "--json"))
    assert made["key"].startswith(f"vap_{made['id']}_")
    assert run("secret", made["id"]).strip() == made["webhook_secret"]
    run("revoke", made["id"])
    [listed] = json.loads(run("list", "--json"))
    assert (listed["name"], listed["priority"]) == ("studio", 3)
    assert listed["revoked_at"] is not None
    assert not {"key", "hash", "webhook_secret"} & listed.keys()


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    for command in ("revoke", "secret"):
        done = CliRunner().invoke(app, ["keys", command, "nobody", "--data", str(tmp_path)])
        assert done.exit_code != 0
        assert "nobody" in done.output
