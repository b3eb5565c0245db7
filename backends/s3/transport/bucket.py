"""Settings of a bucket and the time of its server, for monitoring; the store itself needs neither.

Sources: Amazon S3 API reference, GetBucketVersioning, GetBucketLifecycleConfiguration, HeadBucket.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.errors import Refused

_UNSUPPORTED = frozenset({400, 403, 404, 405, 501})


class BucketState(NamedTuple):
    """Settings of a bucket.

    Attributes:
        versioning: "Enabled", "Suspended" or "Disabled"; None if the server does not say.
        expiring: Ids of enabled lifecycle rules for removing current objects of the store; None if the server does not
            say.
    """

    versioning: str | None
    expiring: list[str] | None


def read_bucket(client: Client) -> BucketState:
    """Return the settings of a client's bucket, as far as server and credentials allow.

    Raises:
        StoreUnavailable: The server gives no answer.
        StoreNotFound: The bucket does not exist.
    """
    bucket = client.options.bucket
    versioning = _asked(client, lambda c: dict(c.get_bucket_versioning(Bucket=bucket)), "read the bucket's versioning")
    lifecycle = _asked(
        client, lambda c: dict(c.get_bucket_lifecycle_configuration(Bucket=bucket)), "read the bucket's lifecycle"
    )
    return BucketState(
        None if isinstance(versioning, Refused) else str(versioning.get("Status") or "Disabled"),
        _expiring(lifecycle, client.options.prefix),
    )


def server_time(client: Client) -> datetime:
    """Return the time of the server's clock, to the second.

    Raises:
        StoreUnavailable: The server gives no answer, or no time.
        StoreNotFound: The bucket does not exist.
    """
    answer = _asked(client, lambda c: dict(c.head_bucket(Bucket=client.options.bucket)), "look at the bucket")
    if isinstance(answer, Refused):
        raise client.error(answer, "look at the bucket")
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise client.error(Refused(0, "no Date header", False, fault), "tell the time") from None


def _asked(client: Client, call: Callable[[Any], dict[str, Any]], what: str) -> dict[str, Any] | Refused:
    """Return the answer, or the refusal if server or credentials do not allow the question.

    Raises:
        BackendError: The server gives no answer, or the bucket does not exist.
    """
    answer = client.attempt("GET", "", call)
    if isinstance(answer, Refused) and (answer.status not in _UNSUPPORTED or answer.code == "NoSuchBucket"):
        raise client.error(answer, what)
    return answer


def _expiring(lifecycle: dict[str, Any] | Refused, prefix: str) -> list[str] | None:
    if isinstance(lifecycle, Refused):
        return [] if lifecycle.code == "NoSuchLifecycleConfiguration" else None
    return [
        str(rule.get("ID", "?"))
        for rule in lifecycle.get("Rules", ())
        if rule.get("Status") == "Enabled" and "Expiration" in rule and _covers(rule, prefix)
    ]


def _covers(rule: dict[str, Any], prefix: str) -> bool:
    """Return whether a rule's prefix and the store's prefix have objects in common.

    Narrower filters of the rule (tags, sizes) are ignored, since the store's objects may match such a filter.
    """
    chosen = rule.get("Filter") or {}
    start = str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
    return start.startswith(prefix) or prefix.startswith(start)
