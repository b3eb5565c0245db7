"""URLs as SQLAlchemy writes them, and passwords that never come out."""

from pathlib import Path

import pytest

from kbstore.migrator import ConnectionFailed, DatabaseMigrator, MigrationError, StatementFailed
from kbstore.migrator.urls import parse_url, redact_sql
from tests.migrator.support import Folder, call

SECRET = "s3cret/w@rd"
WRITTEN = "s3cret%2Fw%40rd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///t.db", "sqlite:///t.db"),
        ("sqlite:////srv/t.db", "sqlite:////srv/t.db"),
        ("sqlite+pysqlite:///t.db", "sqlite:///t.db"),
        ("t.db", "sqlite:///t.db"),
        ("/srv/t.db", "sqlite:////srv/t.db"),
        (f"postgresql+psycopg://app:{WRITTEN}@db:5433/shop?sslmode=require", "postgresql://app@db:5433/shop"),
        (f"postgres://app:{WRITTEN}@db/shop", "postgresql://app@db/shop"),
        (f"mysql+pymysql://app:{WRITTEN}@db/shop?charset=utf8mb4", "mysql://app@db/shop"),
        (f"mariadb://app:{WRITTEN}@db/shop", "mariadb://app@db/shop"),
        ("postgresql:///shop?host=/run/postgresql", "postgresql:///shop"),
    ],
)
def test_urls_are_taken_apart(text: str, shown: str) -> None:
    """What is shown has neither the password nor the options."""
    url = parse_url(text)
    assert url.shown == shown
    assert SECRET not in repr(url)
    assert DatabaseMigrator(text).url == shown
    if WRITTEN in text:
        assert url.password == SECRET
        assert SECRET not in url.redact(f"x {SECRET} y")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"oracle://app:{WRITTEN}@db/shop", "has a scheme that is not known here"),
        (f"postgresql+nothing://app:{WRITTEN}@db/shop", "has a scheme that is not known here"),
        (f"postgresql://app:{WRITTEN}@db:port/shop", "cannot be taken apart"),
        (f"postgresql://app:{SECRET}@[db/shop", "cannot be taken apart"),
        (f"mysql://app:{WRITTEN}@db", "names no database"),
        (f"mysql://app:{WRITTEN}@db/shop?nothing=1", "has an option 'nothing' that is not known here"),
        (f"mysql://app:{WRITTEN}@db/shop?connect_timeout=x", "the option 'connect_timeout' of the database URL is no"),
        ("sqlite://", "in memory is gone when its migrations are"),
        ("sqlite:///:memory:", "in memory is gone when its migrations are"),
        ("sqlite:///t.db?mode=ro", "a SQLite URL takes no options here"),
        ("", "in memory is gone when its migrations are"),
    ],
)
def test_a_url_that_is_not_understood_is_an_error_without_it(text: str, said: str, tmp_path: Path) -> None:
    """The message does not repeat the text."""
    with pytest.raises(MigrationError, match=said) as caught:
        DatabaseMigrator(text, tmp_path).status()
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert WRITTEN not in f"{caught.value} {caught.value.hint}"
    answer = call("status", "--db", text, "--dir", str(tmp_path))
    if text:
        assert (answer.code, answer.out) == (1, "")
        assert WRITTEN not in answer.err


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # PyMySQL leaves its socket to the collector where it cannot connect
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_that_is_not_there(scheme: str, tmp_path: Path) -> None:
    """The error says where, not with what password."""
    port = "1"
    answer = call("status", "--db", f"{scheme}://app:{WRITTEN}@127.0.0.1:{port}/shop", "--dir", str(tmp_path))
    assert answer.code == 1
    assert f"cannot connect to {scheme}://app@127.0.0.1:1/shop" in answer.err
    assert "s3cret" not in answer.err + answer.out


def test_a_wrong_password_is_not_told(postgresql: str, tmp_path: Path) -> None:
    """Neither by the server's message nor by ours; an option that libpq does not know neither."""
    url = postgresql.replace("postgres@", f"nobody:{WRITTEN}@")
    with pytest.raises(ConnectionFailed) as caught:
        DatabaseMigrator(url, tmp_path).status()
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConnectionFailed) as caught:
        DatabaseMigrator(f"{postgresql}&nothing={WRITTEN}&password={WRITTEN}", tmp_path).status()
    assert "s3cret" not in str(caught.value)


def test_passwords_in_sql_are_not_told(folder: Folder, postgresql: str) -> None:
    """A failing CREATE ROLE is shown without the password that it gives."""
    folder.write(v001_role="-- migrator: allow=password-in-file\nCREATE ROLE postgres LOGIN PASSWORD 's3cret';")
    with pytest.raises(StatementFailed) as caught:
        folder.migrator(postgresql).up()
    assert "s3cret" not in f"{caught.value} {caught.value.sql} {caught.value.__cause__}"
    assert "PASSWORD '***'" in caught.value.sql
    assert redact_sql("IDENTIFIED BY 'x' host=postgresql://a:b@c/d") == (
        "IDENTIFIED BY '***' host=postgresql://a:'***'@c/d"
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A file in a folder that is missing, and a file that is no database, are told plainly."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "001_a.sql").write_text("SELECT 1;")
    with pytest.raises(ConnectionFailed, match="cannot open"):
        DatabaseMigrator(f"sqlite:///{tmp_path}/no/t.db", tmp_path / "migrations").up()
    (tmp_path / "text.db").write_text("this is no database at all, but a text that is long enough " * 20)
    with pytest.raises(ConnectionFailed, match="is not a database"):
        DatabaseMigrator(f"sqlite:///{tmp_path}/text.db", tmp_path / "migrations").status()
    with pytest.raises(MigrationError, match="there is no folder"):
        DatabaseMigrator(f"sqlite:///{tmp_path}/t.db", tmp_path / "nothing").status()
