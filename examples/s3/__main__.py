"""Two writers on one bucket, with no server of ours: `python -m examples.s3` in a checkout.

Starts SeaweedFS, makes a store on it, lets two processes commit to it at once, and shows the log that came of it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from examples.s3.server import ACCESS_KEY, SECRET_KEY, raw_client, seaweed
from kbstore import Store
from kbstore.errors import ConflictError

LOCATION = "s3://support/kb?read_timeout=30&cache=off"
ARTICLES = {
    "problems": {
        "p1": {"title": "Login fails", "votes": 0, "severity": "low"},
        "p2": {"title": "Export stops half-way", "votes": 0, "severity": "low"},
    }
}
WRITER = """
import sys
from kbstore import Store
location, name, article = sys.argv[1:]
with Store.open(location, author=f"{name}@example.com") as kb:
    for votes in range(1, 6):
        patch = [{"op": "replace", "path": f"/problems/{article}/votes", "value": votes}]
        kb.commit(patch=patch, message=f"vote {votes}")
"""


def main() -> None:
    """Run the example."""
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as url:
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        raw_client(url).create_bucket(Bucket="support")
        Store.create(LOCATION, ARTICLES, author="you@example.com").close()

        print("Two processes commit at once, each to its own article:")
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, LOCATION, name, article])
            for name, article in (("anna", "p1"), ("ben", "p2"))
        ]
        if any(writer.wait(120) for writer in writers):
            raise SystemExit("a writer failed")

        with (
            Store.open(LOCATION, author="anna@example.com") as anna,
            Store.open(LOCATION, author="ben@example.com") as ben,
        ):
            for version in anna.log(newest_first=False):
                print(f"  {version.name}  {version.author:16} {version.message}")
            document = anna.checkout()
            print("Both are there:", {name: entry["votes"] for name, entry in document["problems"].items()})

            print("Both change the same place; one wins, the other is told:")
            base = ben.head()
            anna.commit(
                patch=[{"op": "replace", "path": "/problems/p1/severity", "value": "high"}], message="it is bad"
            )
            try:
                change = [{"op": "replace", "path": "/problems/p1/severity", "value": "medium"}]
                ben.commit(patch=change, message="not that bad", base=base)
            except ConflictError as conflict:
                for pointer, ours, theirs in conflict.pointers:
                    print(f"  {pointer}: ben has {ours!r}, anna committed {theirs!r}")
            report = anna.verify()
            print(f"Proved from the bytes: {report.versions} versions, {'whole' if report.ok else 'damaged'}")


if __name__ == "__main__":
    main()
