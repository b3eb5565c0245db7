"""What can be configured, with its defaults: plain values that cost nothing to load.

`kbstore.health.config` reads them from a file and checks them; docs/health.md lists them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

_STRICT: dict[str, str] = {"extra": "forbid"}

Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, slots=True)
class Targets:
    """What is to be checked.

    Attributes:
        store: The store: a path or a URL; by default that of the project around the current folder.
        branch: The branch of the store to look at.
        database: URL of the database.
        migrations: Folder of its migrations.
        paths: More folders whose room is watched.
        state: Folder for history, notes and silences.
    """

    __pydantic_config__: ClassVar = _STRICT

    store: str | None = None
    branch: str = "main"
    database: str | None = None
    migrations: str | None = None
    paths: tuple[str, ...] = ()
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where well ends. Each is the first value that is no longer well.

    Attributes:
        disk_degraded_ratio: Share of bytes or inodes that are still free.
        disk_unhealthy_ratio: The same, for worse.
        disk_unhealthy_bytes: Free bytes, whatever the share.
        store_degraded_bytes: Size of the store.
        wal_degraded_bytes: Size of a write-ahead log beside an SQLite file.
        head_degraded_s: Age of the newest version; 0 does not judge it.
        head_unhealthy_s: The same, for worse; 0 does not judge it.
        chain_sample: Random old events that are read again each round.
        chain_batch: New events that are checked in one round.
        snapshot_replay_events: Most events that are folded to check a snapshot.
        bytes_limit_bytes: Largest store of which every byte is read.
        s3_p95_degraded_s: 95th percentile of the time of a small request.
        s3_p95_unhealthy_s: The same, for worse.
        s3_samples: Requests that are timed.
        clock_degraded_s: Difference between this clock and another.
        clock_unhealthy_s: The same, for worse.
        db_degraded_s: Time to connect to the database and ask it something.
        drill_degraded_s: Age of the last restore drill.
    """

    __pydantic_config__: ClassVar = _STRICT

    disk_degraded_ratio: Share = 0.10
    disk_unhealthy_ratio: Share = 0.03
    disk_unhealthy_bytes: NotNegative = 64 * 1024 * 1024
    store_degraded_bytes: Positive = 10 * 1024**3
    wal_degraded_bytes: Positive = 256 * 1024 * 1024
    head_degraded_s: NotNegative = 0
    head_unhealthy_s: NotNegative = 0
    chain_sample: Annotated[int, Ge(0)] = 64
    chain_batch: Annotated[int, Ge(1)] = 5_000
    snapshot_replay_events: Annotated[int, Ge(1)] = 500
    bytes_limit_bytes: NotNegative = 256 * 1024 * 1024
    s3_p95_degraded_s: Positive = 0.5
    s3_p95_unhealthy_s: Positive = 2.0
    s3_samples: Annotated[int, Ge(1), Le(100)] = 10
    clock_degraded_s: Positive = 2.0
    clock_unhealthy_s: Positive = 60.0
    db_degraded_s: Positive = 0.5
    drill_degraded_s: Positive = 35 * 86_400


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What is changed of one check; what is None stays as the check declares it.

    Attributes:
        enabled: False leaves it out.
        timeout: Seconds that it may take.
        every: Seconds between two runs.
        impact: The worst that it can make of the whole.
        rise: Healthy rounds in a row after which it counts as well.
        fall: Other rounds in a row after which it counts as failed.
        runbook: Where a person reads on.
        remedy: A command that may mend it.
        options: Passed to the check as ``ctx.options``.
    """

    __pydantic_config__: ClassVar = _STRICT

    enabled: bool = True
    timeout: Positive | None = None
    every: NotNegative | None = None
    impact: Literal["healthy", "degraded", "unhealthy"] | None = None
    rise: Annotated[int, Ge(1)] | None = None
    fall: Annotated[int, Ge(1)] | None = None
    runbook: str | None = None
    remedy: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sink:
    """Where alerts go.

    Attributes:
        kind: ``log`` appends a line to a file (or writes it to stderr), ``command`` runs a command with the alert as
            JSON on its stdin, ``webhook`` posts it.
        name: How it is named in messages.
        path: The file of a log.
        command: The argument list of a command.
        url: Where a webhook posts to.
        secret: Key with which a webhook's body is signed (HMAC-SHA-256).
        timeout: Seconds that one try may take.
    """

    __pydantic_config__: ClassVar = _STRICT

    kind: Literal["log", "command", "webhook"]
    name: str = ""
    path: str | None = None
    command: tuple[str, ...] = ()
    url: str | None = None
    secret: str = ""
    timeout: Positive = 10.0

    @property
    def label(self) -> str:
        """Its name, or its kind where it has none."""
        return self.name or self.kind


@dataclass(frozen=True, slots=True)
class Watch:
    """How `health watch` works.

    Attributes:
        interval: Seconds from the start of one round to that of the next.
        jitter: Share of the interval by which a round may start late, at random.
        repeat: Seconds after which a standing alert is sent again.
        flap_changes: Changes of status among the last `flap_window` rounds that make a check flapping.
        flap_window: See `flap_changes`.
        heartbeat_url: Fetched after each round, for a service that notices when that stops.
        keep_days: Days of history to keep.
    """

    __pydantic_config__: ClassVar = _STRICT

    interval: Positive = 300.0
    jitter: Share = 0.1
    repeat: Positive = 4 * 3600.0
    flap_changes: Annotated[int, Ge(2)] = 6
    flap_window: Annotated[int, Ge(4)] = 20
    heartbeat_url: str | None = None
    keep_days: Positive = 30.0


@dataclass(frozen=True, slots=True)
class Serve:
    """How `health serve` works.

    Attributes:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        token: Who sends it (``Authorization: Bearer ...``) sees details; nobody does where it is empty.
        every: Seconds for which a result is good enough, where its check does not say.
    """

    __pydantic_config__: ClassVar = _STRICT

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65535)] = 8080
    token: str = ""
    every: Positive = 15.0


@dataclass(frozen=True, slots=True)
class Remedies:
    """Which remedies may run.

    Attributes:
        allow: Checks whose remedy `health fix` may run.
        automatic: Checks whose remedy `health watch` runs by itself when they have failed.
        cooldown: Seconds between two runs of one remedy.
        attempts: Runs within a day after which somebody must look.
        timeout: Seconds that one may take.
    """

    __pydantic_config__: ClassVar = _STRICT

    allow: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()
    cooldown: NotNegative = 600.0
    attempts: Annotated[int, Ge(1)] = 3
    timeout: Positive = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    Attributes:
        targets: What is to be checked.
        thresholds: Where well ends.
        checks: What is changed of single checks, by name.
        sinks: Where alerts go.
        watch: How `health watch` works.
        serve: How `health serve` works.
        remedies: Which remedies may run.
        deadline: Seconds that a round may take; by default what its checks may take, twice.
        memory_limit_mb: Memory (MiB) that the checks of a round may take together; 0 does not limit it.
        folder: That of the configuration's file, in which its commands run; no file says it. None is the current one.
    """

    __pydantic_config__: ClassVar = _STRICT

    targets: Targets = field(default_factory=Targets)
    thresholds: Thresholds = field(default_factory=Thresholds)
    checks: dict[str, CheckSettings] = field(default_factory=dict)
    sinks: tuple[Sink, ...] = ()
    watch: Watch = field(default_factory=Watch)
    serve: Serve = field(default_factory=Serve)
    remedies: Remedies = field(default_factory=Remedies)
    deadline: Positive | None = None
    memory_limit_mb: NotNegative = 2048
    folder: str | None = None
