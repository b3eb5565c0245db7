"""Buckets with versioning and Object Lock keep a store as any other does."""

import pytest

from kbstore import Store
from tests.s3.conftest import new_bucket
from tests.s3.servers import raw_client


@pytest.mark.parametrize("kind", ["versioned", "locked"])
def test_a_store_lives_there(moto_url: str, kind: str) -> None:
    """Commits, snapshots, collections; and of each slot there is one version for ever."""
    client = raw_client(moto_url)
    name = new_bucket(moto_url) if kind == "versioned" else f"locked-{id(client)}"
    if kind == "locked":
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    location = f"s3://{name}/kb?grace=0"
    with Store.create(location, {"n": 0}, author="a") as kb:
        for n in range(20):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n + 1}])
        kb.snapshot()
        kb.backend.collect({})
    with Store.open(location, author="b") as kb:
        assert kb.checkout("v10") == {"n": 9}
        kb.tag("t", "v3")
        assert kb.verify().ok
    found = client.list_object_versions(Bucket=name, Prefix="kb/log/")["Versions"]
    assert len({one["Key"] for one in found}) == len(found) == 22
