"""Names, directives, checksums, and which file is chosen."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kbstore.migrator import MigrationError, MigrationFileError
from kbstore.migrator.files import Directives, checksum, find, new_name, parse_version, read_script, scan
from tests.migrator.support import FakeClock, Folder

NOW = datetime(2025, 1, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "version", "slug"),
    [
        ("001_initial_schema.sql", 1, "initial_schema"),
        ("20250127_120000_add_orders.sql", 20250127120000, "add_orders"),
        ("20250127120000_add_orders.sql", 20250127120000, "add_orders"),
        ("0042_Add-Orders2.sql", 42, "Add-Orders2"),
        ("R_views.sql", None, "views"),
        ("001_rollback.sql", 1, "rollback"),
    ],
)
def test_names_that_are_migrations(folder: Folder, name: str, version: int | None, slug: str) -> None:
    """Version and slug are read from the name; the name without a dialect is what the history knows."""
    (folder.path / name).write_text("SELECT 1;")
    ((found_name, found_version, found_slug, *_),) = scan(folder.path, "sqlite")
    assert (found_name, found_version, found_slug) == (name, version, slug)


@pytest.mark.parametrize(
    "name",
    [
        "add_orders.sql",
        "12_short.sql",
        "001-orders.sql",
        "001_2fast.sql",
        "20250127_1200_orders.sql",
        "001_orders.postgres.sql",
        "001_orders.SQL",
        "123456789012345_long.sql",
        "r_views.sql",
    ],
)
def test_a_sql_file_that_is_named_otherwise_is_an_error(folder: Folder, name: str) -> None:
    """It would be left out in silence otherwise; what is no SQL is nobody's business."""
    (folder.path / "README.md").write_text("about")
    (folder.path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationFileError, match="is not named as a migration is"):
        scan(folder.path, "sqlite")
    with pytest.raises(MigrationFileError, match="is not named as a migration is"):
        new_name("more", folder.path, NOW)


def test_the_order_is_that_of_the_numbers(folder: Folder) -> None:
    """As integers without the underscore; repeatable ones last, by slug."""
    for name in ("0100_c", "020_b", "20250127_120000_d", "3_a".zfill(5), "R_b", "R_a"):
        (folder.path / f"{name}.sql").write_text("SELECT 1;")
    names = [migration.name for migration in scan(folder.path, "sqlite")]
    assert names == ["003_a.sql", "020_b.sql", "0100_c.sql", "20250127_120000_d.sql", "R_a.sql", "R_b.sql"]


def test_a_dialects_own_text_is_chosen(folder: Folder) -> None:
    """Its own before the common one, MariaDB's before MySQL's; the checksum is that of the file chosen."""
    folder.write(
        v001_a="SELECT 1;", v001_a__postgresql="SELECT 2;", v001_a__mysql="SELECT 3;", v001_a__mariadb="SELECT 4;"
    )
    folder.write(v001_a_rollback="SELECT 5;", v001_a_rollback__mysql="SELECT 6;", v001_a_verify="SELECT 7;")
    texts = {}
    for dialect in ("sqlite", "postgresql", "mysql", "mariadb"):
        (migration,) = scan(folder.path, dialect)
        assert migration.name == "001_a.sql"
        assert migration.script.checksum == checksum(migration.script.text)
        assert migration.rollback is not None
        texts[dialect] = (migration.script.text, read_script(migration.rollback).text)
    assert texts == {
        "sqlite": ("SELECT 1;", "SELECT 5;"),
        "postgresql": ("SELECT 2;", "SELECT 5;"),
        "mysql": ("SELECT 3;", "SELECT 6;"),
        "mariadb": ("SELECT 4;", "SELECT 6;"),
    }


def test_no_text_for_the_dialect_in_use_is_an_error(folder: Folder) -> None:
    """It names what there is, and what to add; for a companion too."""
    folder.write(v001_a__postgresql="SELECT 1;")
    with pytest.raises(MigrationFileError, match=r"no text of this for sqlite, only 001_a\.postgresql\.sql") as caught:
        scan(folder.path, "sqlite")
    assert "001_a.sqlite.sql" in str(caught.value.hint)
    folder.write(v001_a="SELECT 1;", v001_a_rollback__mysql="SELECT 1;")
    with pytest.raises(MigrationFileError, match=r"001_a_rollback\.sql: there is no text"):
        scan(folder.path, "sqlite")


def test_a_companion_needs_its_migration(folder: Folder) -> None:
    """A rollback whose migration is not there is a mistake in a name."""
    folder.write(v001_a="SELECT 1;", v002_b_rollback="SELECT 1;")
    with pytest.raises(MigrationFileError, match=r"002_b_rollback\.sql: is the rollback of a migration"):
        scan(folder.path, "sqlite")


def test_directives_are_read_from_the_head(folder: Folder) -> None:
    """All of them, on one line or on several, before the first statement."""
    folder.write(
        v001_a="-- about a\n\n-- migrator: transaction=off lock_timeout=500ms requires=002,b\n"
        "--migrator: statement_timeout=2min irreversible allow=drop-column,drop-table\nSELECT 1;"
    )
    (migration,) = scan(folder.path, "sqlite")
    assert migration.script.directives == Directives(
        transaction=False,
        lock_timeout_s=0.5,
        statement_timeout_s=120,
        requires=("002", "b"),
        irreversible=True,
        allow=frozenset({"drop-column", "drop-table"}),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-- migrator: transactoin=off\n", r"001_a\.sql:1: there is no directive 'transactoin'"),
        ("-- migrator: transaction=no\n", r"001_a\.sql:1: the directive transaction does not take 'no'"),
        ("-- x\n-- migrator: lock_timeout=soon\n", r"001_a\.sql:2: the directive lock_timeout does not take 'soon'"),
        ("-- migrator: requires=\n", "the directive requires does not take ''"),
        ("-- migrator: irreversible=yes\n", "the directive irreversible does not take 'yes'"),
        ("-- migrator: transaction=off transaction=on\n", "transaction is given twice"),
        ("SELECT 1;\n-- migrator: transaction=off\n", r"001_a\.sql:2: a directive stands after the first statement"),
    ],
)
def test_a_directive_that_is_not_understood_is_an_error(folder: Folder, text: str, words: str) -> None:
    """With its file and line; it is never passed over."""
    folder.write(v001_a=text)
    with pytest.raises(MigrationFileError, match=words):
        scan(folder.path, "sqlite")


def test_a_file_that_is_not_utf8_is_an_error_with_its_line(folder: Folder) -> None:
    """Bytes are not guessed at."""
    (folder.path / "001_a.sql").write_bytes(b"SELECT 1;\n-- caf\xe9\n")
    with pytest.raises(MigrationFileError, match=r"001_a\.sql:2: is not UTF-8"):
        scan(folder.path, "sqlite")


@pytest.mark.parametrize(
    "other", ["\ufeffa\nb\n", "a\r\nb\r\n", "a  \nb\t\n", "a\nb", "a\nb\n\n\n", "a\rb", "a\r\nb \t"]
)
def test_what_an_editor_changes_is_no_change(other: str) -> None:
    """A byte order mark, line ends and trailing blanks do not count; the algorithm's name stands before the digest."""
    assert checksum(other) == checksum("a\nb\n")
    assert checksum("a\nb\n").startswith("sha256:")


@pytest.mark.parametrize("other", ["a\nb c", "ab", "a\n b", "a\n\nb", "A\nb", ""])
def test_anything_else_is_a_change(other: str) -> None:
    """Blanks in front and empty lines between are a part of the text."""
    assert checksum(other) != checksum("a\nb\n")


def test_a_new_file_takes_the_next_free_second(folder: Folder) -> None:
    """Also where the version that is taken is written without its underscore."""
    folder.write(v20250127_120000_a="SELECT 1;", v20250127120001_b="SELECT 1;")
    assert new_name("c", folder.path, NOW) == "20250127_120002_c.sql"
    migrator = folder.migrator("sqlite:///never.db")
    assert migrator.create_migration("Add orders!", "SELECT 1;") == "20250127_120002_Add_orders.sql"
    assert migrator.create_migration("Add orders!", "SELECT 1;") == "20250127_120003_Add_orders.sql"
    assert (folder.path / "20250127_120003_Add_orders.sql").read_bytes() == b"SELECT 1;\n"
    assert migrator.create_migration("../up", "SELECT 1;") == "20250127_120004_up.sql"


def test_a_companion_takes_the_version_of_the_newest_of_its_name(folder: Folder) -> None:
    """None of that name is an error, and so is a companion that is there already."""
    folder.write(v001_users="SELECT 1;", v007_users="SELECT 1;", v009_orders="SELECT 1;")
    migrator = folder.migrator("sqlite:///never.db")
    assert migrator.create_migration("users_rollback", "SELECT 1;") == "007_users_rollback.sql"
    assert migrator.create_migration("users_verify", "SELECT 1;") == "007_users_verify.sql"
    with pytest.raises(MigrationError, match=r"007_users_rollback\.sql is there already"):
        migrator.create_migration("users_rollback", "SELECT 2;")
    with pytest.raises(MigrationError, match="there is no migration 'nothing' for this rollback"):
        migrator.create_migration("nothing_rollback", "SELECT 1;")


@pytest.mark.parametrize("name", ["", "2fast", "../..", "ñ", "_", "3_rollback", "x" * 201])
def test_a_name_that_makes_no_file_name_is_an_error(folder: Folder, name: str) -> None:
    """Nothing is written."""
    with pytest.raises(MigrationError, match=r"makes no file name|the name is 201 characters long"):
        folder.migrator("sqlite:///never.db").create_migration(name, "SELECT 1;")
    assert list(folder.path.iterdir()) == []


def test_nothing_is_written_to_the_samples(tmp_path: Path) -> None:
    """They come with the package, and belong to it."""
    from kbstore.migrator import DatabaseMigrator

    migrator = DatabaseMigrator(str(tmp_path / "x.db"), "builtin:troubleshooting", clock=FakeClock())
    with pytest.raises(MigrationError, match="nothing is written to builtin:troubleshooting"):
        migrator.create_migration("more", "SELECT 1;")
    with pytest.raises(MigrationError, match="no set of migrations 'nothing'"):
        DatabaseMigrator(str(tmp_path / "x.db"), "builtin:nothing").status()


def test_people_may_name_a_migration_as_they_like(folder: Folder) -> None:
    """By name, without its ending, by version in any writing, by slug; an ambiguous slug is told."""
    folder.write(
        v001_users="SELECT 1;", v20250127_120000_orders="SELECT 1;", v003_same="SELECT 1;", v004_same="SELECT 1;"
    )
    migrations = scan(folder.path, "sqlite")
    for text in ("20250127_120000_orders.sql", "20250127_120000_orders", "20250127_120000", "20250127120000", "orders"):
        assert find(migrations, text).slug == "orders"
    assert find(migrations, "1").slug == "users"
    with pytest.raises(MigrationError, match=r"'same' means 003_same\.sql and 004_same\.sql"):
        find(migrations, "same")
    with pytest.raises(MigrationError, match="there is no migration 'order'"):
        find(migrations, "order")
    assert parse_version("20250127_120000_orders.sql") == 20250127120000
    with pytest.raises(MigrationError, match="'latest' is not a version"):
        parse_version("latest")


def test_files_of_other_tools_are_told_apart(folder: Folder, sqlite: str) -> None:
    """A file with both directions would be run as a whole: created, then dropped."""
    folder.write(v001_users="-- migrate:up\nCREATE TABLE users (id INTEGER);\n-- migrate:down\nDROP TABLE users;")
    with pytest.raises(MigrationFileError, match="holds both directions"):
        folder.migrator(sqlite).up()
