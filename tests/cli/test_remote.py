"""clone, push and pull between stores on this machine; tests/s3 has the same to S3 and back."""

from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import KBStoreError
from kbstore.sync.remote import refuse_itself, replicate
from tests.cli.support import Shell


@pytest.fixture
def rich(kb: Shell) -> Shell:
    """Three versions, a tag, a branch with a version of its own, and a long value."""
    kb.ok("tag", "stable", "v2")
    kb.ok("branch", "side", "v2")
    with Store.open(kb.folder / ".kbstore" / "kb.db", branch="side", author="b") as side:
        side.commit(patch=[{"op": "add", "path": "/problems/p1/notes", "value": "long " * 5000}], message="on the side")
    return kb


def lines(shell: Shell, store: str) -> bytes:
    """All that a store holds, as it is exported."""
    return shell.ok("export", "--store", store).raw


def test_a_clone_is_the_same_history(rich: Shell) -> None:
    """Ids, documents, tags and branches are the same, and it is whole."""
    result = rich.ok("clone", ".kbstore", "copy.db", "--json").object
    assert (result["versions"], result["refs"]) == (4, 2)
    assert lines(rich, "copy.db") == lines(rich, ".kbstore")
    assert rich.ok("tag", "--store", "copy.db").raw == rich.ok("tag").raw
    assert rich.ok("verify", "--store", "copy.db").lines[0].startswith("whole: 4 versions")
    with Store.open(rich.folder / "copy.db", branch="side") as side:
        assert side.checkout()["problems"]["p1"]["notes"] == "long " * 5000


def test_a_push_to_a_store_that_is_not_there_names_the_clone_that_starts_it(rich: Shell) -> None:
    """The command of the hint works as printed; a push then goes there."""
    told = rich.fails(10, "push", "../shared.db").err
    assert told.endswith("start it as a copy of this store: kbstore clone . ../shared.db\n")
    rich.ok("clone", ".", "../shared.db")
    assert rich.ok("push", "../shared.db").lines[0].startswith("nothing to copy")
    told = rich.fails(10, "push", "new.db", "--store", "../shared.db").err
    assert told.endswith(f"kbstore clone {rich.folder.parent / 'shared.db'} new.db\n")
    assert "clone" not in rich.fails(10, "push", "new.db", "--store", "none.db").err


def test_a_push_without_a_project_says_so(shell: Shell) -> None:
    """The missing project is the reason, not the missing memory of another store."""
    for command in ("push", "pull"):
        told = shell.fails(10, command).err
        assert told.startswith("error: there is no .kbstore folder in ")
    shell.write({})
    shell.ok("init", "kb.json")
    assert "no other store is remembered here" in shell.fails(10, "push").err


def test_cloning_again_copies_nothing(rich: Shell) -> None:
    """A clone that is whole stays as it is."""
    rich.ok("clone", ".kbstore", "copy.db")
    assert rich.ok("clone", ".kbstore", "copy.db", "--json").object["versions"] == 0
    assert rich.ok("push", "copy.db").lines[0].startswith("nothing to copy")


def test_a_clone_that_was_cut_short_goes_on(rich: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch that landed stays, and the next clone begins behind it."""
    monkeypatch.setattr("kbstore.sync.remote._BATCH_EVENTS", 1)
    original = Store.graft
    calls = []

    def failing(self: Store, events: object, **options: bool) -> None:
        calls.append(events)
        if len(calls) == 3:
            raise KBStoreError("the line went dead")
        original(self, events, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "graft", failing)
    rich.fails(3, "clone", ".kbstore", "copy.db")
    with Store.open(rich.folder / "copy.db") as copy:
        assert copy.head().seq == 2
    assert rich.ok("clone", ".kbstore", "copy.db", "--json").object["versions"] == 2
    assert lines(rich, "copy.db") == lines(rich, ".kbstore")


def test_push_and_pull_go_forward_only(rich: Shell) -> None:
    """What one side has more is copied; the side that is behind takes nothing away; the file follows a pull."""
    rich.ok("clone", ".kbstore", "copy.db")
    rich.edit("p1", votes=11)
    rich.ok("commit", "-m", "eleven")
    assert rich.ok("push", "copy.db", "--json").object["versions"] == 1
    with Store.open(rich.folder / "copy.db", author="other") as copy:
        copy.commit(patch=[{"op": "replace", "path": "/problems/p2/votes", "value": 99}], message="from elsewhere")
        copy.tag("newest")
    assert rich.ok("push", "copy.db", "--json").object["versions"] == 0
    result = rich.ok("pull", "copy.db", "--json").object
    assert (result["versions"], result["refs"]) == (1, 1)
    assert rich.read()["problems"]["p2"]["votes"] == 99
    assert rich.ok("status").lines[-1] == "nothing changed"


def test_a_pull_leaves_uncommitted_changes(rich: Shell) -> None:
    """The store gets the versions, the file stays as it is."""
    rich.ok("clone", ".kbstore", "copy.db")
    with Store.open(rich.folder / "copy.db", author="other") as copy:
        copy.commit(patch=[{"op": "replace", "path": "/problems/p2/votes", "value": 99}], message="from elsewhere")
    rich.edit("p1", votes=12)
    before = rich.file.read_bytes()
    assert "uncommitted" in rich.ok("pull", "copy.db").err
    assert rich.file.read_bytes() == before


def test_histories_that_parted_are_a_conflict(rich: Shell) -> None:
    """Exit code 11, the last version that both have is named, and nothing is copied."""
    rich.ok("clone", ".kbstore", "copy.db")
    with Store.open(rich.folder / "copy.db", author="other") as copy:
        copy.commit(patch=[{"op": "replace", "path": "/problems/p2/votes", "value": 99}], message="there")
    rich.edit("p1", votes=12)
    rich.ok("commit", "-m", "here")
    before = lines(rich, "copy.db")
    for command in ("push", "pull"):
        assert "have diverged: both have new versions after v3" in rich.fails(11, command, "copy.db").err
    assert lines(rich, "copy.db") == before
    rich.ok("import", "-", "--store", "other.db", stdin=b'{"document": {"other": true}}\n')
    assert "their first versions differ" in rich.fails(11, "clone", ".kbstore", "other.db").err


def test_stores_that_diverged_come_together_as_the_hint_says(rich: Shell) -> None:
    """What this side changed since the last common version is committed on top of the other's, and pushed."""
    rich.ok("clone", ".kbstore", "theirs.db")
    with Store.open(rich.folder / "theirs.db", author="other") as theirs:
        theirs.commit(patch=[{"op": "replace", "path": "/problems/p2/votes", "value": 99}], message="there")
    for votes in (12, 13):
        rich.edit("p1", votes=votes)
        rich.ok("commit", "-m", "here")
    hint = rich.fails(11, "push", "theirs.db").err.splitlines()[-1]
    steps = [step.split(" (")[0].strip() for step in hint.split(": ", 2)[2].split(";")[0].split(", ")]
    assert len(steps) == 3
    for step in steps:
        words = step.replace("OTHER", "theirs.db").replace("TEXT", "mine").removeprefix("kbstore ").split()
        rich.ok(*words)
    assert rich.ok("push", "theirs.db").lines[0].startswith("1 version pushed to theirs.db; ")
    problems = rich.read()["problems"]
    assert (problems["p1"]["votes"], problems["p2"]["votes"]) == (13, 99)
    assert rich.ok("get", "/problems", "--store", "theirs.db").raw == rich.ok("get", "/problems").raw


def test_tags_of_both_sides_come_together(rich: Shell) -> None:
    """Different names set on either side are no conflict: each gets the other's, once, and a tag that moved moves."""
    rich.ok("clone", ".kbstore", "copy.db")
    rich.ok("tag", "here", "v1")
    rich.ok("tag", "there", "v1", "--store", "copy.db")
    assert rich.ok("push", "copy.db", "--json").object["refs"] == 1
    assert rich.ok("pull", "copy.db", "--json").object["refs"] == 1
    for command in ("push", "pull"):
        assert rich.ok(command, "copy.db").lines[0].startswith("nothing to copy")
    rich.ok("tag", "here", "v2", "--force")
    rich.ok("tag", "-d", "stable", "--store", "copy.db")
    rich.ok("push", "copy.db")
    rich.ok("pull", "copy.db")
    tags = rich.ok("tag").raw
    assert tags == rich.ok("tag", "--store", "copy.db").raw
    assert b"stable" not in tags
    for store in (".kbstore", "copy.db"):
        assert rich.ok("verify", "--store", store).lines[0].startswith("whole: 4 versions")


def test_a_tag_that_both_set_is_a_conflict_that_can_be_settled(rich: Shell) -> None:
    """Exit code 11 and nothing is copied, no version either; force, or moving one of the two, ends it for good."""
    rich.ok("clone", ".kbstore", "copy.db")
    rich.edit("p1", votes=11)
    rich.ok("commit", "-m", "eleven")
    rich.ok("tag", "best", "v1")
    rich.ok("tag", "best", "v2", "--store", "copy.db")
    before = lines(rich, "copy.db")
    result = rich.fails(11, "push", "copy.db")
    assert "'best' is a tag at v1 in" in result.err
    assert "--force" in result.err
    assert lines(rich, "copy.db") == before
    rich.fails(11, "pull", "copy.db")
    assert rich.ok("push", "copy.db", "--force", "--json").object["versions"] == 1
    for command in ("push", "pull"):
        assert rich.ok(command, "copy.db").lines[0].startswith("nothing to copy")
    rich.ok("tag", "worst", "v1")
    rich.ok("tag", "worst", "v3", "--store", "copy.db")
    rich.fails(11, "pull", "copy.db")
    rich.ok("tag", "worst", "v1", "--force", "--store", "copy.db")
    assert rich.ok("pull", "copy.db").lines[0].startswith("nothing to copy")
    assert rich.ok("tag").raw == rich.ok("tag", "--store", "copy.db").raw


def test_a_branch_that_parted_is_a_conflict_or_is_left_out(rich: Shell) -> None:
    """Nothing is copied; forced, everything but what stands on it."""
    rich.ok("clone", ".kbstore", "copy.db")
    for store in (".kbstore/kb.db", "copy.db"):
        with Store.open(rich.folder / store, branch="side", author="b") as side:
            side.commit(patch=[{"op": "add", "path": "/problems/new", "value": store}])
    rich.ok("tag", "on-side", "side")
    rich.ok("tag", "on-main", "v1")
    before = lines(rich, "copy.db")
    assert "on branch side" in rich.fails(11, "push", "copy.db").err
    assert lines(rich, "copy.db") == before
    result = rich.ok("push", "copy.db", "--force", "--json")
    assert (result.object["refs"], result.object["left_out"]) == (1, ["side"])
    with Store.open(rich.folder / "copy.db", branch="side") as side:
        assert side.checkout()["problems"]["new"] == "copy.db"
        assert set(side.tags()) == {"stable", "on-main"}
        assert side.verify().ok


def test_a_branch_that_both_started_at_one_version_is_one(rich: Shell) -> None:
    """Its versions go to and fro like those of the main line."""
    rich.ok("clone", ".kbstore", "copy.db")
    for store in (".kbstore", "copy.db"):
        rich.ok("branch", "draft", "v3", "--store", store)
    with Store.open(rich.folder / ".kbstore" / "kb.db", branch="draft", author="b") as draft:
        draft.commit(patch=[{"op": "add", "path": "/problems/new", "value": 1}])
    assert rich.ok("push", "copy.db", "--json").object["versions"] == 1
    assert rich.ok("pull", "copy.db", "--json").object["versions"] == 0
    with Store.open(rich.folder / "copy.db", branch="draft") as draft:
        assert draft.checkout()["problems"]["new"] == 1


def test_a_clean_file_follows_a_pull_that_brings_nothing(rich: Shell) -> None:
    """What is newer than the file may have come to the store before, and on the file's own branch."""
    rich.ok("clone", ".kbstore", "copy.db")
    for branch in ("main", "side"):
        if branch == "side":
            rich.ok("branch", "--switch", "side")
        with Store.open(rich.folder / ".kbstore" / "kb.db", branch=branch, author="other") as kb:
            kb.commit(patch=[{"op": "replace", "path": "/problems/p2/votes", "value": 99}])
        assert rich.ok("pull", "copy.db").lines[0].startswith("nothing to copy")
        assert rich.read()["problems"]["p2"]["votes"] == 99
        assert rich.ok("status").lines[-1] == "nothing changed"


def test_a_store_is_not_copied_to_itself(rich: Shell) -> None:
    """Nor to one that is gone when the command ends: an error, whatever the store is called."""
    for target in (".kbstore", ".kbstore/kb.db", str(rich.folder / ".kbstore" / "kb.db")):
        for command in (("clone", ".kbstore"), ("push",), ("pull",)):
            assert "is the store itself" in rich.fails(3, *command, target).err
    for command in (("clone", ".kbstore"), ("push",), ("pull",)):
        assert "ends with the command" in rich.fails(2, *command, "memory:").err
    refuse_itself("s3://bucket/kb?endpoint=http://one", "s3://bucket/kb?endpoint=http://other")
    with pytest.raises(KBStoreError, match="itself"):
        refuse_itself("s3://bucket/kb?threads=4", "s3://bucket/kb/")


def test_what_is_not_there(rich: Shell) -> None:
    """A source or a target of push that is no store: exit code 10."""
    rich.fails(10, "clone", "nope.db", "copy.db")
    rich.fails(10, "push", "nope.db")
    rich.fails(10, "pull", "nope.db")


def test_a_damaged_source_is_not_copied(rich: Shell, tmp_path: Path) -> None:
    """What does not follow from its events is refused, and the copy ends before it."""
    with Store.open(rich.folder / ".kbstore" / "kb.db", read_only=True) as source:
        original = source.line.bodies

        def forged(numbers):  # type: ignore[no-untyped-def]
            for seq, body in original(numbers):
                yield seq, b'[{"op":"replace","path":"/name","value":"forged"}]' if seq == 2 else body

        source.line.bodies = forged  # type: ignore[method-assign]
        with Store.create(tmp_path / "copy.db") as target:
            with pytest.raises(KBStoreError, match="v2"):
                replicate(source, target)
            assert target.head().seq == 0


def test_a_pull_brings_the_base_of_the_file(rich: Shell) -> None:
    """A store that is older than its file refuses it by name, and takes what is missing from another store."""
    rich.ok("clone", ".kbstore", "old.db")
    rich.edit("p2", votes=9)
    name = rich.ok("commit", "-m", "newer").out.split()[0]
    (rich.folder / ".kbstore" / "kb.db").rename(rich.folder / "new.db")
    (rich.folder / "old.db").rename(rich.folder / ".kbstore" / "kb.db")
    rich.edit("p1", votes=9)
    before = rich.file.read_bytes()
    for command in (["status"], ["diff"], ["checkout"]):
        done = rich.run(*command)  # a warning of the older store stands before the error
        assert done.code == 3
        assert f"kb.json was taken from {name} (" in done.err
        assert "this store does not contain; its newest version is v3_" in done.err
    for command in (["commit", "-m", "x"], ["restore", "v1"]):
        told = rich.fails(3, *command).err
        assert f"{name} was in this store, and is not any more; the newest version is v3_" in told
    assert "votes" in rich.ok("diff", "v3").out
    rich.ok("pull", "new.db")
    assert rich.file.read_bytes() == before
    assert rich.ok("status").lines[1:] == ["uncommitted: 1 modified", "  ~ p1"]
