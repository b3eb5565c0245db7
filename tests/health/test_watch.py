"""Rounds come on time and one at a time; alerts reach sinks that fail, hang and recover, and survive a restart."""

import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import ConfigError, Engine, Result, Settings, StateError, Status
from kbstore.health.context import Context
from kbstore.health.explain import explain
from kbstore.health.settings import Remedies, Sink, Targets
from kbstore.health.settings import Watch as WatchSettings
from kbstore.health.watch.http import SendFault, request
from kbstore.health.watch.loop import Watch
from kbstore.health.watch.outbox import Outbox
from kbstore.health.watch.sinks import send
from tests.health.sink import Receiver
from tests.health.support import Clock, alive, demo_store, environment, registry_of, wait_for


class Patient:
    """A check whose state is set by the test."""

    def __init__(self) -> None:
        self.status = Status.HEALTHY
        self.runs = 0

    def __call__(self, ctx: Context) -> Result:
        self.runs += 1
        return Result(self.status, "as set")


class Time:
    """A clock that goes forward only where somebody waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = 1000.0
        self.waits: list[float] = []

    def elapsed(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.spend(seconds)
        return False

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.clock.pass_s(seconds)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes alerts."""
    with Receiver() as there:
        yield there


@pytest.fixture
def patient() -> Patient:
    """A check that is well until it is told otherwise."""
    return Patient()


def watch_of(
    tmp_path: Path,
    patient: Any,
    *sinks: Sink,
    clock: Clock | None = None,
    say: Callable[[str], None] = lambda text: None,
    spec: dict[str, Any] | None = None,
    remedies: Remedies | None = None,
    **settings: Any,
) -> tuple[Watch, Engine, Time]:
    """A watch over the patient, with its state in a folder, on a clock that goes forward only where it waits."""
    now = Time(clock or Clock())
    engine = Engine(
        Settings(
            targets=Targets(state=str(tmp_path / "state")),
            sinks=sinks,
            watch=WatchSettings(**settings),
            remedies=remedies or Remedies(),
        ),
        checks=registry_of(patient=(patient, {"fall": 1, **(spec or {})})),
        isolate=False,
        clock=now.clock,
    )
    return Watch(engine, say, wait=now.wait, elapsed=now.elapsed, first_wait_s=0.05), engine, now


def test_the_schedule_does_not_drift(tmp_path: Path, patient: Patient) -> None:
    """Rounds are due at multiples of the interval, plus a random part of the jitter, however long they take."""
    watch, engine, now = watch_of(tmp_path, patient, interval=100.0, jitter=0.2)
    starts = []

    def check(ctx: Context) -> Result:
        starts.append(now.now - 1000)
        now.spend(7)
        return Result.healthy("x")

    engine._registry.checks["patient"] = check
    with engine:
        watch.run(20)
    assert len(now.waits) == 19, "nothing is waited for after the last round"
    late = [start - 100 * number for number, start in enumerate(starts)]
    assert len(starts) == 20
    assert all(0 <= one <= 20 for one in late)


def test_a_round_that_takes_too_long_is_followed_by_the_next_in_its_slot(tmp_path: Path, patient: Patient) -> None:
    """Rounds never overlap and are never made up for: those that were missed are left out, and that is said."""
    said: list[str] = []
    watch, engine, now = watch_of(tmp_path, patient, interval=100.0, jitter=0.0, say=said.append)
    starts = []

    def check(ctx: Context) -> Result:
        starts.append(now.now - 1000)
        now.spend(250 if len(starts) == 2 else 1)
        return Result.healthy("x")

    engine._registry.checks["patient"] = check
    with engine:
        watch.run(4)
    assert starts == [0, 100, 400, 500]
    assert any("left out" in text for text in said)


def test_a_check_has_a_pace_of_its_own(tmp_path: Path, patient: Patient) -> None:
    """One that asks to run every ten minutes runs in every second round of five, also after a restart."""
    for rounds in (4, 4):
        watch, engine, now = watch_of(tmp_path, patient, spec={"every": 600.0}, interval=300.0, jitter=0.0)
        now.clock.pass_s(1200 if patient.runs else 0)
        with engine:
            watch.run(rounds)
    assert patient.runs == 4


def sink_of(receiver: Receiver, **settings: Any) -> Sink:
    """A webhook to the receiver."""
    return Sink("webhook", url=receiver.url, secret="k3y", **{"timeout": 0.5, **settings})


def kinds(receiver: Receiver) -> list[str]:
    """Kinds of the alerts that the receiver has taken."""
    return [json.loads(body)["kind"] for _, body in receiver.taken]


def test_an_alert_arrives_signed_and_once(tmp_path: Path, patient: Patient, receiver: Receiver) -> None:
    """Failed once, resolved once; each signed with the secret, and the secret itself is nowhere."""
    watch, engine, _ = watch_of(tmp_path, patient, sink_of(receiver), interval=300.0)
    with engine:
        patient.status = Status.UNHEALTHY
        watch.run(3)
        patient.status = Status.HEALTHY
        watch.run(2)
        assert kinds(receiver) == ["failed", "resolved"]
        assert engine.state
        assert [d["tries"] for d in engine.state.deliveries()] == [1, 1]
    headers, body = receiver.taken[0]
    stamp, digest = (part.split("=")[1] for part in headers["x-health-signature"].split(","))
    assert hmac.new(b"k3y", f"{stamp}.".encode() + body, sha256).hexdigest() == digest
    assert json.loads(body)["check"] == "patient"
    assert headers["x-health-delivery"] == json.loads(body)["id"]
    assert b"k3y" not in body


@pytest.mark.parametrize("mode", ["fails", "hangs", "trickles", "redirects"])
def test_a_sink_that_is_down_gets_its_alerts_when_it_is_back(
    tmp_path: Path, patient: Patient, receiver: Receiver, mode: str
) -> None:
    """It is tried again, more slowly each time; recorded as sent only then; in order; and rounds go on meanwhile."""
    said: list[str] = []
    clock = Clock()
    watch, engine, _ = watch_of(tmp_path, patient, sink_of(receiver), clock=clock, say=said.append, interval=1.0)
    stop = threading.Event()

    def moments() -> Iterator[int]:
        # Real time, since the sink is real.
        while not stop.wait(0.02):
            clock.pass_s(0.02)
            yield 0

    watch._moments = moments  # type: ignore[method-assign]
    receiver.mode = mode
    patient.status = Status.UNHEALTHY
    runner = threading.Thread(target=watch.run, daemon=True)
    with engine:
        assert engine.state
        runner.start()
        wait_for(lambda: len(receiver.seen) >= 2)
        assert receiver.taken == []
        assert [d["sent"] for d in engine.state.deliveries()] == [None]
        made = patient.runs
        patient.status = Status.HEALTHY
        wait_for(lambda: patient.runs > made + 3)
        receiver.mode = "takes"
        wait_for(lambda: engine.state and [bool(d["sent"]) for d in engine.state.deliveries()] == [True, True])
        stop.set()
        runner.join(10)
    assert not runner.is_alive()
    assert kinds(receiver) == ["failed", "resolved"]
    assert any("did not take an alert" in text for text in said)
    assert not any("abcdef" in text for text in said)


def test_a_restart_neither_repeats_nor_forgets(tmp_path: Path, patient: Patient, receiver: Receiver) -> None:
    """An alert that was not taken before the program ended is sent by the next; one that was is not sent again."""
    receiver.mode = "fails"
    patient.status = Status.UNHEALTHY
    clock = Clock()
    watch, engine, _ = watch_of(tmp_path, patient, sink_of(receiver), clock=clock, interval=1.0)
    with engine:
        watch.run(2)
    assert receiver.seen
    receiver.mode = "takes"
    for _ in range(3):
        clock.pass_s(60)
        watch, engine, _ = watch_of(tmp_path, patient, sink_of(receiver), clock=clock, interval=1.0)
        with engine:
            watch.run(1)
    assert kinds(receiver) == ["failed"]


def test_a_hanging_sink_delays_no_other(tmp_path: Path, patient: Patient, receiver: Receiver) -> None:
    """The log and a command get their alert while the webhook hangs."""
    receiver.mode = "hangs"
    code = f"import sys; open({str(tmp_path / 'got.json')!r}, 'w').write(sys.stdin.read())"
    sinks = (
        sink_of(receiver, timeout=5),
        Sink("command", command=(sys.executable, "-c", code)),
        Sink("log", path=str(tmp_path / "alerts.log")),
    )
    watch, engine, _ = watch_of(tmp_path, patient, *sinks, interval=1.0)
    patient.status = Status.DEGRADED
    with engine:
        watch.run(1)
        wait_for(lambda: (tmp_path / "got.json").exists() and (tmp_path / "got.json").read_text().endswith("\n"))
        wait_for(lambda: (tmp_path / "alerts.log").exists() and (tmp_path / "alerts.log").read_text())
    assert json.loads((tmp_path / "got.json").read_text())["status"] == "degraded"
    assert "failed patient: degraded: as set" in (tmp_path / "alerts.log").read_text()
    assert receiver.taken == []


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (Sink("command", command=(sys.executable, "-c", "raise SystemExit(3)")), "exit code 3"),
        (Sink("command", command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.3), "did not end"),
        (Sink("command", command=("no-such-program",)), "cannot be run"),
        (Sink("command"), "cannot be run"),
        (Sink("log", path="/no/such/folder/x.log"), "No such file"),
        (Sink("webhook", url="http://127.0.0.1:1/x"), "127.0.0.1"),
        (Sink("webhook", url="file:///etc/passwd"), "no http or https URL"),
        (Sink("webhook"), "no http or https URL"),
    ],
)
def test_a_sink_that_cannot_take_it_says_why(sink: Sink, message: str) -> None:
    """Each way of failing is a fault that can be tried again, with its reason."""
    alert = {"time": "t", "kind": "failed", "check": "a", "status": "unhealthy", "message": "m", "id": "1"}
    with pytest.raises(SendFault, match=message):
        send(sink, alert, 0.0)


def test_the_heartbeat_beats_each_round(tmp_path: Path, patient: Patient, receiver: Receiver) -> None:
    """The URL is fetched after each round; that it hangs delays no round."""
    watch, engine, _ = watch_of(tmp_path, patient, heartbeat_url=receiver.url, interval=1.0)
    with engine:
        watch.run(1)
        assert len(receiver.taken) == 1
        receiver.mode = "hangs"
        before = patient.runs
        watch.run(3)
    assert patient.runs == before + 3


def test_a_request_is_over_in_time(receiver: Receiver) -> None:
    """Also where a byte comes now and then, which starts the timeout of a socket again."""
    receiver.mode = "trickles"
    began = time.monotonic()
    with pytest.raises(SendFault):
        request("GET", receiver.url, None, {}, 0.5)
    assert time.monotonic() - began < 10


def test_a_remedy_runs_by_itself_where_that_is_wanted(tmp_path: Path, patient: Patient) -> None:
    """Once the check has failed for good, and only once while it stands; it is written down."""
    file = tmp_path / "mended"
    command = (sys.executable, "-c", f"open({str(file)!r}, 'a').write('x')")
    said: list[str] = []
    watch, engine, _ = watch_of(
        tmp_path,
        patient,
        say=said.append,
        spec={"remedy": command, "fall": 2},
        remedies=Remedies(allow=("patient",), automatic=("patient",)),
        interval=1.0,
    )
    patient.status = Status.UNHEALTHY
    with engine:
        watch.run(1)
        assert not file.exists()
        watch.run(3)
        wait_for(lambda: any("ended with exit code 0" in text for text in said))
        assert engine.state
        assert len(engine.state.remedies("patient")) == 1
    assert file.read_text() == "x"


def test_a_flapping_check_is_marked(tmp_path: Path, patient: Patient) -> None:
    """`health explain` says that a check is flapping, from what is on disk."""
    watch, engine, _ = watch_of(tmp_path, patient, interval=1.0, flap_changes=3)
    with engine:
        for status in (Status.HEALTHY, Status.UNHEALTHY) * 3:
            patient.status = status
            watch.run(1)
        assert any("flapping" in line for line in explain(engine, "patient"))


def test_two_watches_do_not_share_a_state(tmp_path: Path, patient: Patient) -> None:
    """The second is refused, since both would send every alert; so are two sinks of one name."""
    watch, engine, _ = watch_of(tmp_path, patient)
    other, other_engine, _ = watch_of(tmp_path, patient)
    with engine, other_engine, watch._alone(), pytest.raises(StateError, match="another health watch"):
        other.run(1)
    with pytest.raises(ConfigError, match="two sinks are named 'log'"):
        watch_of(tmp_path, patient, Sink("log"), Sink("log"))


def test_the_command_watches_until_it_is_terminated(tmp_path: Path) -> None:
    """`health watch` makes isolated rounds, tells each, and on SIGTERM ends with 0 and leaves no process."""
    demo_store(tmp_path)
    (tmp_path / "health.toml").write_text('[targets]\nstore = "kb.db"\n')
    call = [sys.executable, "-u", "-c", "from kbstore.health.cli import main; main()", "watch", "--interval", "0.3"]
    env = environment({"HEALTH_TEST": str(tmp_path)})
    with subprocess.Popen(call, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        rounds = 0
        while rounds < 3:
            line = process.stdout.readline()
            assert " healthy: " in line or "left out" in line, line
            rounds += " healthy: " in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    mark = f"HEALTH_TEST={tmp_path}".encode()
    wait_for(lambda: not [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(pid, mark)])


def marked(pid: int, mark: bytes) -> bool:
    """Whether a process that is there has this in its environment."""
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes() and alive(pid)
    except OSError:
        return False


def test_the_lock_of_a_watch_names_its_process(tmp_path: Path) -> None:
    """As long as the lock is held, so that whoever is refused can look who has it."""
    watch, engine, _ = watch_of(tmp_path, Patient())
    with engine, watch._alone():
        (lock,) = [file for file in (tmp_path / "state").iterdir() if file.read_bytes() == b"%d\n" % os.getpid()]
    assert lock.is_file()


def test_the_heartbeat_waits_between_two_beats(tmp_path: Path) -> None:
    """One request for each beat, and in between the thread sleeps until it is called."""
    with Receiver() as receiver:
        _, engine, _ = watch_of(tmp_path, Patient(), heartbeat_url=receiver.url)
        with engine:
            outbox = Outbox(engine, engine.state, lambda text: None)
            for beats in (1, 2):
                outbox.beat()
                wait_for(lambda beats=beats: len(receiver.seen) == beats)
                assert not outbox._beat.is_set()
            outbox.close()
            assert len(receiver.seen) == 2
