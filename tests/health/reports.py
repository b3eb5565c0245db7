"""A report with one of everything, for golden files."""

from datetime import UTC, datetime

from kbstore.health import Outcome, Report, Result, Status

NOW = datetime(2025, 1, 27, 12, tzinfo=UTC)

HEALTHY = Report(
    (Outcome("store.reachable", Result.healthy("kb.db: 3 versions", metrics={"versions_total": 3}), duration_s=0.012),),
    NOW,
    0.25,
)

NOTHING = Report((), NOW, 0.01)

MIXED = Report(
    (
        Outcome(
            "store.reachable",
            Result.healthy("kb.db: 3 versions, the newest is v3_20250127_120000", metrics={"versions_total": 3}),
            duration_s=0.0125,
            runbook="docs/health.md#storereachable",
            since=NOW.replace(day=20),
        ),
        Outcome(
            "store.chain",
            Result.unhealthy(
                "the patch of v2 is missing or is not the one that was committed: 100%, \u202eright\x1b[31m | so",
                hint="run: kbstore verify",
                details={"seq": 2},
            ),
            duration_s=0.5,
            runbook="docs/health.md#storechain",
            since=NOW.replace(hour=9),
            last_note='restored kb.db from the backup of "Monday"',
        ),
        Outcome(
            "store.head",
            Result.unhealthy("v3 is 9 d old", metrics={"age_s": 777_600.5, "tags_total": 1}),
            impact=Status.DEGRADED,
            duration_s=0.25,
        ),
        Outcome(
            "store.disk",
            Result.degraded("/srv: 2.1 GiB free (8%)", metrics={"free_bytes": 2_254_857_830, "free_ratio": 0.08}),
            duration_s=0.001,
        ),
        Outcome(
            "kb.freshness",
            Result.unhealthy(
                "did not finish within 2 s", hint="it hangs, or its timeout is too short", reason="timeout"
            ),
            duration_s=2.0,
            isolated=False,
        ),
        Outcome("s3.bucket", Result.skipped("no S3 store is configured", reason="not_configured")),
    ),
    NOW,
    2.25,
    ("process 4711 (sleep 3600) outlived its kill",),
    ("the history in /srv/.health cannot be used: disk I/O error",),
)
