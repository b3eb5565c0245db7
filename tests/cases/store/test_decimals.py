"""Cases of numbers that a double cannot hold: nothing that a person wrote is rounded without a word."""

import json
from pathlib import Path

import pytest

from tests.cases.support import Desk

PRICE = "12345678901234567890.123"
TEXT = f'{{"p":{{"x":{{"title":"t","price":{PRICE}}}, "y": {{"n": 1.10}}}}}}\n'


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder whose file has a number with more digits than a double."""
    desk = Desk(tmp_path / "a")
    desk.file.write_text(TEXT, encoding="utf-8")
    return desk


def test_a_number_that_would_be_rounded_is_refused(desk: Desk) -> None:
    """Case 19: `init` names the place and the way out, and starts no history."""
    done = desk.run("init", "kb.json")
    assert done.code == 3
    assert f"(at '/p/x/price'): the number {PRICE} would be rounded" in done.err
    assert "hint: keep such a number as a string" in done.err
    assert not (desk.folder / ".kbstore").exists()


def test_lossy_accepts_it_and_says_so(desk: Desk) -> None:
    """Case 19: a warning names the pointer; the number that was accepted is no change, and stays in the file."""
    done = desk.ok("init", "--lossy", "kb.json")
    assert f"/p/x/price: {PRICE} became 1.2345678901234567e19" in done.err.replace("e+19", "e19")
    assert "nothing changed" in desk.ok("status").out
    done = desk.ok("commit", "-m", "again")
    assert "nothing changed" in done.err
    assert "warning" not in done.err

    desk.file.write_text(TEXT.replace('"t"', '"u"'), encoding="utf-8")
    assert desk.ok("diff", "--name-only").out == "/p/x\n"
    desk.ok("commit", "-m", "title")
    desk.ok("checkout", "v1")
    assert desk.file.read_text(encoding="utf-8") == TEXT
    assert "nothing changed" in desk.ok("status").out
    desk.ok("restore", "v2")
    assert desk.file.read_text(encoding="utf-8") == TEXT.replace('"t"', '"u"')
    desk.ok("checkout", "HEAD", "--force")
    assert "nothing changed" in desk.ok("status").out


def test_another_number_with_the_same_double_is_not_taken_for_the_old_one(desk: Desk) -> None:
    """Case 19: an edit that a double cannot hold is refused by every command that would have to look at it."""
    desk.ok("init", "--lossy", "kb.json")
    edited = TEXT.replace(".123", ".999")
    desk.file.write_text(edited, encoding="utf-8")
    for command in (["status"], ["commit", "-m", "price"], ["diff"], ["checkout", "v1"], ["restore", "v1"]):
        done = desk.run(*command)
        assert done.code == 3, command
        assert "/p/x/price" in done.err
    assert desk.file.read_text(encoding="utf-8") == edited
    done = desk.ok("commit", "--lossy", "-m", "price")
    assert "/p/x/price: 12345678901234567890.999 became" in done.err
    assert "nothing changed" in desk.ok("status").out


def test_patches_and_imports_are_read_as_strictly(desk: Desk) -> None:
    """Case 19: the same number is refused in them by pointer, and accepted with a warning."""
    desk.write({"p": {}})
    desk.ok("init", "kb.json")
    patch = f'[{{"op":"add","path":"/p/x","value":[{PRICE}]}}]'
    done = desk.run("apply", "-", "-m", "x", stdin=patch)
    assert (done.code, "'/0/value/0'" in done.err) == (3, True)
    done = desk.ok("apply", "-", "-m", "x", "--lossy", stdin=patch)
    assert f"stdin has numbers with more digits than a double; they were rounded\n  /0/value/0: {PRICE}" in done.err
    assert desk.newest() == {"p": {"x": [float(PRICE)]}} == desk.read()

    line = f'{{"document": {{"n": {PRICE}}}}}\n'
    lines = json.dumps({"document": {}}) + "\n" + line
    done = desk.run("import", "-", "--store", "other.db", stdin=line)
    assert (done.code, "'/document/n'" in done.err) == (3, True)
    assert not (desk.folder / "other.db").exists()
    done = desk.ok("import", "-", "--store", "other.db", "--lossy", stdin=lines)
    assert (
        f"line 2 of stdin has numbers with more digits than a double; they were rounded\n  /document/n: {PRICE}"
        in done.err
    )
    assert json.loads(desk.ok("get", "--store", "other.db", "/n").out) == float(PRICE)


def test_a_warning_names_no_more_than_ten_places(desk: Desk) -> None:
    """Case 19: a file full of such numbers fills no terminal."""
    desk.file.write_text(f"[{', '.join([PRICE] * 50)}]", encoding="utf-8")
    warned = desk.ok("init", "--lossy", "kb.json").err
    assert warned.count("became") == 10
    assert "and more places" in warned


def test_two_files_are_compared_as_strictly(desk: Desk) -> None:
    """Case 19: `diff FILE FILE` refuses the number in either, or names it."""
    (desk.folder / "other.json").write_text("{}", encoding="utf-8")
    for files in (["kb.json", "other.json"], ["other.json", "kb.json"]):
        assert desk.run("diff", *files).code == 3
        assert (
            f"warning: kb.json has numbers with more digits than a double; they were rounded\n  /p/x/price: {PRICE}"
            in desk.ok("diff", "--lossy", *files).err
        )
