"""The settings and their defaults: plain values, cheap to load.

`kbstore.health.config` reads settings from a file and checks them; docs/health.md lists all settings.
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
    """The store, database and folders to check.

    Attributes:
        store: Path or URL of the store; by default the store of the project around the current folder.
        branch: Branch of the store to check.
        database: URL of the database.
        migrations: Folder of the database's migrations.
        paths: More folders to watch for free space.
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
    """Limits of the checks, and how much a round reads.

    A value at or past its limit makes a check degraded or unhealthy. The `disk_` limits are minimums: exactly as much
    free space is still enough.

    Attributes:
        disk_degraded_ratio: Free share of bytes or inodes.
        disk_unhealthy_ratio: Free share of bytes or inodes.
        disk_unhealthy_bytes: Free bytes, whatever the share.
        store_degraded_bytes: Size of the store.
        wal_degraded_bytes: Size of a write-ahead log beside an SQLite file.
        head_degraded_s: Age of the newest version; 0 means no limit.
        head_unhealthy_s: Age of the newest version; 0 means no limit.
        chain_sample: Old events to read again in each round, picked at random; on a server at most 4.
        chain_batch: New events to check in a round, at most.
        snapshot_replay_events: Events to replay for the check of a snapshot, at most.
        bytes_limit_bytes: Largest store or SQLite file to read completely.
        s3_p95_degraded_s: 95th percentile of the time of a small request.
        s3_p95_unhealthy_s: 95th percentile of the time of a small request.
        s3_samples: Requests to time.
        clock_degraded_s: Difference between this machine's clock and another.
        clock_unhealthy_s: Difference between this machine's clock and another.
        db_degraded_s: Time to connect to the database and get an answer.
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
    """Changes to one check; a setting of None keeps the value declared by the check.

    Attributes:
        enabled: False leaves the check out.
        timeout: Seconds for a run of the check.
        every: Seconds between two runs in `watch` and `serve`.
        impact: Worst effect of the check on the overall status.
        rise: Healthy rounds in a row until the check counts as healthy again.
        fall: Bad rounds in a row until the check counts as failed.
        runbook: Where people find instructions: a path or a URL.
        remedy: Command that may fix the problem.
        options: Values for the check, passed as ``ctx.options``.
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
    """A destination of alerts.

    Attributes:
        kind: ``log`` appends a line to a file (or writes the line to stderr), ``command`` runs a command with the alert
            as JSON on its stdin, ``webhook`` posts the alert.
        name: Name in messages; by default the kind.
        path: File of a log; by default stderr.
        command: Argument list of a command.
        url: URL of a webhook.
        secret: Key for signing the body of a webhook (HMAC-SHA-256).
        timeout: Seconds for one try.
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
        """The name; the kind if the sink has no name."""
        return self.name or self.kind


@dataclass(frozen=True, slots=True)
class Watch:
    """Settings of `health watch`.

    Attributes:
        interval: Seconds from the start of a round to the start of the next.
        jitter: Share of the interval by which a round may start late, at random.
        repeat: Seconds until an alert is sent again while the problem lasts.
        flap_changes: Changes between healthy and bad, within the last `flap_window` rounds, that make a check flapping.
        flap_window: Rounds to count changes in.
        heartbeat_url: URL to fetch after each round, for a service that notices when the fetches stop.
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
    """Settings of `health serve`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free port.
        token: Callers with the token (``Authorization: Bearer ...``) see details; if empty, nobody does.
        every: Seconds between two runs of a check without an `every` of its own.
    """

    __pydantic_config__: ClassVar = _STRICT

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65535)] = 8080
    token: str = ""
    every: Positive = 15.0


@dataclass(frozen=True, slots=True)
class Remedies:
    """Permissions and limits of remedies.

    Attributes:
        allow: Checks with a remedy that `health fix` may run.
        automatic: Checks with a remedy that `health watch` runs after a failure; `allow` must name the checks too.
        cooldown: Seconds between two runs of the same remedy.
        attempts: Runs within a day until a person must look.
        timeout: Seconds for a run.
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
        targets: The store, database and folders to check.
        thresholds: Limits of the checks, and how much a round reads.
        checks: Changes to single checks, by name.
        sinks: Destinations of alerts.
        watch: Settings of `health watch`.
        serve: Settings of `health serve`.
        remedies: Permissions and limits of remedies.
        deadline: Seconds for a round; by default twice the time that checks may take in a row, plus 3 s.
        memory_limit_mb: Memory (MiB) for each process with checks; 0 means no limit.
        folder: Folder of the configuration file, in which commands run; None is the current folder. The file itself
            cannot set the folder.
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
