"""The life of a support knowledge base, with the real `kbstore` command, in a temporary folder: `make demo`.

Each command is printed before it is run, with all that it prints. A command that does not end as it should, or a
document that is not what it should be, ends the demo with exit code 1.
"""

import json
import lzma
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from kbstore import Store, dumps

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILE = "support_kb.json"
QUERIES = (
    "select severity, count(*) from problems group by severity order by 2 desc",
    "select title from problems_fts where problems_fts match 'firewall AND webhooks'",
    "select version, author, message from versions order by seq desc limit 3",
)
COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def main() -> int:
    """Run all of it; returns the exit code."""
    program = shutil.which("kbstore")
    if program is None:
        print("demo: the kbstore command is not on the PATH; say `make demo`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="kbstore-demo-") as place:
        demo = Demo(program, Path(place))
        try:
            demo.support_team()
            demo.real_history()
        except Unexpected as fault:
            print(f"\ndemo: {fault}", file=sys.stderr)
            return 1
    say("Everything was as promised.")
    return 0


class Unexpected(Exception):
    """Something did not end as the demo says it does."""


class Demo:
    """One run in one folder.

    Args:
        program: Path of the `kbstore` command.
        folder: Where to work; what is made there is the caller's to remove.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("KBSTORE_")}
        self.environment |= {"KBSTORE_AUTHOR": "Jana Novak <jana@harborlight.example>", "COLUMNS": "100"}
        if COLOR:
            self.environment["FORCE_COLOR"] = "1"

    def run(self, *arguments: str, ends: int = 0, most_lines: int = 60) -> str:
        """Show a command and what it prints; returns that.

        Args:
            arguments: What follows `kbstore`.
            ends: The exit code that it must end with.
            most_lines: Lines of its output to show.
        """
        print(bold(f"$ kbstore {shlex.join(arguments)}"), flush=True)
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, env=self.environment, capture_output=True, check=False
        )
        told = (done.stdout + done.stderr).decode()
        lines = told.rstrip("\n").split("\n")
        if len(lines) > most_lines:
            lines[most_lines:] = [f"({len(lines) - most_lines} {'more ' if most_lines else ''}lines)"]
        print("\n".join(lines))
        print(flush=True)
        if done.returncode != ends:
            raise Unexpected(f"`kbstore {shlex.join(arguments)}` ended with {done.returncode} instead of {ends}")
        return done.stdout.decode()

    def document(self, name: str = FILE) -> object:
        """What a file of the folder holds."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def write(self, old: str, new: str) -> None:
        """Change the knowledge base as in an editor: one text by another."""
        path = self.folder / FILE
        text = path.read_text(encoding="utf-8")
        require(text.count(old) == 1, f"{old!r} stands once in {FILE}")
        path.write_text(text.replace(old, new), encoding="utf-8")

    def support_team(self) -> None:
        """A week of a support team: start, edit, commit, compare, tag, go back, look after the store."""
        shutil.copy(HERE / FILE, self.folder)
        shutil.copytree(HERE / "edits", self.folder / "edits")

        say("A knowledge base becomes a versioned one: its history is kept in .kbstore/ beside it.")
        self.run("init", FILE)
        self.run("status")

        say("Somebody corrects a title and a step in an editor. What changed is told by article, and word by word.")
        self.write(
            "Delete the cookies of both harborlight.example and app.harborlight.example, then sign in again.",
            "Delete the cookies of both harborlight.example and app.harborlight.example, close all windows of the "
            "browser, then sign in again.",
        )
        self.write('"title": "No push notifications on Android"', '"title": "Push notifications missing on Android"')
        self.run("status")
        self.run("diff")
        self.run("commit", "-m", "Sign-in loop: say to close the browser", "--tag", "sso")
        edited = self.document()

        say("Changes also come as JSON Patches, from a form or another program.")
        self.run("apply", "edits/01-new-article.json", "-m", "API integration problem", "--author", "dev@example.com",
                 "--tag", "api", "--tag", "integration")  # fmt: skip
        self.run("apply", "edits/02-corrected-step.json", "-m", "Webhook events are kept for 7 days now")
        self.run("apply", "edits/03-raised-severity.json", "-m", "Incident: new address range", "--tag", "incident")
        self.run("apply", "edits/04-removed-article.json", "-m", "MDM is documented elsewhere")
        self.run("apply", "edits/05-reordered-steps.json", "-m", "Desktop Sync: ask for free space first")

        say("A patch that was written for another state is refused as a whole; nothing of it is applied.")
        before = self.document()
        self.run("apply", "edits/06-refused.json", "-m", "stale", ends=3)
        require(self.document() == before, "a refused patch changes nothing")

        say("Who changed what, when and why.")
        self.run("log", "--oneline")
        self.run("log", "--path", "/problems/api-webhook-timeout")
        self.run("show", "v4")
        self.run("diff", "v2", "HEAD", "--stat")
        self.run("diff", "v1", "HEAD", "/problems/sync-stuck-at-percent")
        self.run("diff", "v3", "v4", "--patch")

        say("Tags name versions; every value can be read at every version.")
        self.run("tag", "stable", "v2")
        self.run("get", "/problems/network-ip-allowlist/severity")
        self.run("get", "/problems/network-ip-allowlist/severity", "--at", "stable")

        say("An old version in a file of its own, and then back to it: the history stays, a new version is added.")
        self.run("checkout", "stable", "-o", "stable.json")
        require(self.document("stable.json") == edited, "a checkout is what was committed")
        self.run("restore", "stable", "-m", "Back to the stable version until the review is done")
        require(self.document() == edited, "the file follows a restore")
        self.run("log", "--oneline", "-n", "3")

        say("The history proves itself from its bytes; caches and packs are looked after.")
        self.run("verify")
        self.run("gc", "--dry-run")
        self.run("gc")
        self.run("verify")

        say("For SQL, Datasette and full-text search: a SQLite file.")
        self.run("export", "--sqlite", "kb.sqlite")
        self.query("kb.sqlite")

    def query(self, name: str) -> None:
        """Show what tables an exported file has, and a query on one of them."""
        with closing(sqlite3.connect(self.folder / name)) as base:
            for query in QUERIES:
                print(bold(f'$ sqlite3 {name} "{query}"'))
                for row in base.execute(query):
                    print("|".join(map(str, row)))
                print()
            (count,) = base.execute("select count(*) from problems").fetchone()
        require(count == 78, "the exported file has every article")

    def real_history(self) -> None:
        """The 234 published versions of the mime-db package's data, where they are at hand."""
        shared = next(
            (Path(place) for place in (os.environ.get("KBSTORE_SHARED"), ROOT.parent / "shared") if place and
             (Path(place) / "data" / "mime-db.jsonl.xz").is_file()),
            None,
        )  # fmt: skip
        if shared is None:
            say("(No data/mime-db.jsonl.xz in KBSTORE_SHARED or ../shared, so no long history is shown.)")
            return
        say("A real history: every published version of mime-db, the list of media types.")
        self.run("import", str(shared / "data" / "mime-db.jsonl.xz"), "--store", "mime.db")
        versions = self.run("log", "--store", "mime.db", "--json", most_lines=0)
        require(len(versions.splitlines()) == 234, "mime-db has 234 versions")
        self.run("log", "--store", "mime.db", "--oneline", "-n", "5")
        self.run("log", "--store", "mime.db", "--path", "/application~1json", "--oneline")
        self.run("diff", "--store", "mime.db", "v233", "v234")
        self.run("verify", "--store", "mime.db")
        self.run("gc", "--store", "mime.db")
        with lzma.open(shared / "data" / "mime-db.jsonl.xz") as lines, Store.open(self.folder / "mime.db") as store:
            published = [json.loads(line)["document"] for line in lines]
            size = sum(len(json.dumps(document)) for document in published)
            same = [dumps(store.checkout(seq)) == dumps(document) for seq, document in enumerate(published, 1)]
        require(all(same), "each version is what was published")
        print(f"Each of the {len(same)} versions is what was published, value by value.")
        kept = (self.folder / "mime.db").stat().st_size
        print(f"As files they take {size:,} bytes; the whole history takes {kept:,}.\n")


def require(holds: bool, promise: str) -> None:
    """End the demo where a promise is not kept."""
    if not holds:
        raise Unexpected(f"this does not hold: {promise}")


def say(text: str) -> None:
    """A line between the commands."""
    print(f"\x1b[36m# {text}\x1b[0m\n" if COLOR else f"# {text}\n", flush=True)


def bold(text: str) -> str:
    """Text that stands out where that can be seen."""
    return f"\x1b[1m{text}\x1b[0m" if COLOR else text


if __name__ == "__main__":
    sys.exit(main())
