"""The contract as tests: a backend's own file subclasses `ContractSuite` and says how to make and reopen a store."""

import threading
from collections.abc import Callable, Sequence

import pytest

from kbstore.backends.base import TRUTH, Backend, Chunk, Record, StoredRecord, Tail
from kbstore.kit.errors import CorruptStore, ReadOnlyStore, SlotTaken, StoreUnavailable
from tests.backends.samples import body, chunk, chunks, everything, fill, furnish, header

Reopen = Callable[..., Backend]


def present(backend: Backend, wanted: Sequence[Chunk]) -> list[Chunk]:
    """Those of some chunks that a backend gives when asked for all of them, sorted; gifts are left out."""
    asked = {c.address for c in wanted}
    return sorted({Chunk(f.address, f.data) for f in backend.get_chunks(asked) if f.address in asked})


class ContractSuite:
    """Needs two fixtures: `backend`, an empty store, and `reopen(read_only=False)`, which opens it once more."""

    # -- logs

    def test_an_empty_store_has_nothing(self, backend: Backend) -> None:
        """A new store answers every question with nothing, and is sound."""
        assert backend.tail("main") == Tail(0, 0)
        assert backend.logs() == []
        assert list(backend.read("main")) == []
        assert backend.find_write("main", "00") is None
        assert list(backend.get_chunks([bytes(32)])) == []
        assert backend.snapshots("main") == []
        assert backend.note_names() == []
        assert list(backend.notes("x")) == []
        assert list(backend.check()) == []

    def test_records_read_back_as_written(self, backend: Backend, reopen: Reopen) -> None:
        """Headers, bodies, slots and numbers come back exactly, here and in another handle."""
        fill(backend, 20)
        backend.append("main", 21, [Record(header(n), body(n)) for n in (21, 22, 23)], write_id="b")
        for other in (backend, reopen()):
            assert other.tail("main") == Tail(21, 23)
            assert list(other.read("main")) == [StoredRecord(n, min(n, 21), header(n)) for n in range(1, 24)]
            assert list(other.bodies("main", range(1, 24))) == [(n, body(n)) for n in range(1, 24)]

    def test_ranges_and_order(self, backend: Backend) -> None:
        """Both ends of a range are included, what lies outside is passed over, and newest first is the reverse."""
        fill(backend, 10)

        def numbers(*args: int, newest_first: bool = False) -> list[int]:
            return [record.number for record in backend.read("main", *args, newest_first=newest_first)]

        assert numbers(3, 5) == [3, 4, 5]
        assert numbers(-4, 2) == [1, 2]
        assert numbers(9, 99) == [9, 10]
        assert numbers(7) == [7, 8, 9, 10]
        assert numbers(6, 5) == []
        assert numbers(11) == []
        assert numbers(3, 6, newest_first=True) == [6, 5, 4, 3]
        assert numbers(newest_first=True) == list(range(10, 0, -1))

    def test_long_logs_are_read_in_pieces(self, backend: Backend) -> None:
        """A log longer than any batch comes back whole, in both directions."""
        backend.append("main", 1, [Record(b"%d" % n, b"b%d" % n) for n in range(1, 3001)], write_id="x")
        assert [r.number for r in backend.read("main")] == list(range(1, 3001))
        assert [r.number for r in backend.read("main", newest_first=True)] == list(range(3000, 0, -1))
        assert list(backend.bodies("main", range(1, 3001))) == [(n, b"b%d" % n) for n in range(1, 3001)]

    def test_bodies_come_in_the_order_asked(self, backend: Backend) -> None:
        """Any order, any gaps and repetitions of numbers are served as asked."""
        fill(backend, 30)
        asked = [30, 2, 2, 7, 19, 1]
        assert list(backend.bodies("main", asked)) == [(n, body(n)) for n in asked]

    def test_a_missing_body_is_named(self, backend: Backend) -> None:
        """Asking for the body of a record that does not exist is an error that names it."""
        fill(backend, 2)
        with pytest.raises(CorruptStore, match="3"):
            list(backend.bodies("main", [1, 3]))
        with pytest.raises(CorruptStore, match="other"):
            list(backend.bodies("other", [1]))

    def test_any_bytes_are_kept(self, backend: Backend) -> None:
        """Headers and bodies are bytes: not text, not JSON, of any size, with zeros inside."""
        odd = [b"", b"\0", b"a\0b", b"\xff\xfe", bytes(range(256)), b"x" * 300_000]
        backend.append("main", 1, [Record(data, data) for data in odd], write_id="x")
        assert [record.header for record in backend.read("main")] == odd
        assert [data for _, data in backend.bodies("main", range(1, len(odd) + 1))] == odd

    def test_logs_are_apart(self, backend: Backend) -> None:
        """Each log has slots and numbers of its own, and write ids of its own."""
        fill(backend, 3)
        fill(backend, 2, log="zz")
        backend.append("0", 1, [Record(b"r")], write_id="r")
        assert backend.logs() == ["0", "main", "zz"]
        assert [backend.tail(log) for log in ("0", "main", "zz")] == [Tail(1, 1), Tail(3, 3), Tail(2, 2)]
        assert [r.header for r in backend.read("zz")] == [header(1), header(2)]
        assert backend.find_write("0", "r") == (1, 1)
        assert backend.find_write("main", "r") is None

    @pytest.mark.parametrize("slot", [-1, 0, 1, 3, 5, 99])
    def test_only_the_next_slot_can_be_written(self, backend: Backend, slot: int) -> None:
        """A slot that exists, or that would leave a gap, is taken, and nothing of it is written."""
        fill(backend, 3)
        extra = chunk(b"extra")
        if slot != 4:
            with pytest.raises(SlotTaken):
                backend.append("main", slot, [Record(b"late")], write_id="late", chunks=[extra])
        assert backend.tail("main") == Tail(3, 3)
        assert backend.find_write("main", "late") is None
        assert present(backend, [extra]) == []
        backend.append("main", 4, [Record(b"next")], write_id="next")
        assert backend.tail("main") == Tail(4, 4)

    def test_a_write_is_found_by_its_id(self, backend: Backend) -> None:
        """Any id of up to 64 characters finds first and last record of its slot, also one that looks like another."""
        ids = ["00ff", "00FF", "b00ff", "a" * 64, "é", "00 ff", "=x", "3d78"]
        number = 1
        for slot, write_id in enumerate(ids, 1):
            backend.append("main", slot, [Record(b"x")] * slot, write_id=write_id)
            number += slot
        first = 1
        for slot, write_id in enumerate(ids, 1):
            assert backend.find_write("main", write_id) == (first, first + slot - 1)
            first += slot
        assert backend.find_write("main", "00fe") is None

    def test_two_handles_race_for_a_slot(self, backend: Backend, reopen: Reopen) -> None:
        """Of two writers of one slot one wins; the other is told, reads what was written, and goes on."""
        other = reopen()
        backend.append("main", 1, [Record(b"a")], write_id="a")
        with pytest.raises(SlotTaken):
            other.append("main", 1, [Record(b"b")], write_id="b")
        assert [r.header for r in other.read("main")] == [b"a"]
        other.append("main", 2, [Record(b"b")], write_id="b")
        assert backend.find_write("main", "b") == (2, 2)

    def test_threads_append_every_slot_once(self, backend: Backend) -> None:
        """Four threads on one handle, each retrying lost slots: every write lands once, in one line."""

        def work(name: int) -> None:
            for n in range(15):
                while True:
                    try:
                        slot = backend.tail("main").slot + 1
                        backend.append("main", slot, [Record(b"%d/%d" % (name, n))], write_id=f"{name}/{n}")
                        break
                    except SlotTaken:
                        continue

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert backend.tail("main") == Tail(60, 60)
        assert {r.header for r in backend.read("main")} == {b"%d/%d" % (a, b) for a in range(4) for b in range(15)}

    def test_an_iterator_holds_nothing(self, backend: Backend) -> None:
        """Writing goes on while iterators stand half-way, and these go on afterwards."""
        fill(backend, 200)
        reading, opening = backend.read("main"), backend.bodies("main", range(1, 201))
        next(reading), next(opening)
        fill(backend, 5, first=201)
        backend.collect({})
        assert [r.number for r in reading][:199] == list(range(2, 201))
        assert [n for n, _ in opening] == list(range(2, 201))

    @pytest.mark.parametrize("name", ["", "A", "a/b", "x" * 17, "ä", "a b", "../a", "a\n"])
    def test_wrong_names_are_refused(self, backend: Backend, name: str) -> None:
        """A log's name that is not of the allowed kind is a mistake of the caller."""
        with pytest.raises(ValueError, match="name"):
            backend.append(name, 1, [Record(b"x")], write_id="x")
        with pytest.raises(ValueError, match="name"):
            backend.tail(name)

    def test_wrong_arguments_are_refused(self, backend: Backend) -> None:
        """An empty slot, an overlong write id, a wrong tier, a snapshot of nothing: refused, nothing written."""
        with pytest.raises(ValueError, match="one record"):
            backend.append("main", 1, [], write_id="x")
        for write_id in ("", "x" * 65):
            with pytest.raises(ValueError, match="write id"):
                backend.append("main", 1, [Record(b"x")], write_id=write_id)
        fill(backend, 1)
        for tier in (0, TRUTH):
            with pytest.raises(ValueError, match="tier"):
                backend.put_snapshot("main", 1, tier=tier, note=b"", chunks=[])
        for number in (0, 2, -1):
            with pytest.raises(ValueError, match="no record"):
                backend.put_snapshot("main", number, tier=1, note=b"", chunks=[])
        with pytest.raises(ValueError, match="name"):
            backend.put_note("A", 1, b"")
        with pytest.raises(ValueError, match="32"):
            list(backend.get_chunks([b"short"]))
        assert backend.tail("main") == Tail(1, 1)

    # -- chunks

    def test_chunks_of_a_slot_are_truth(self, backend: Backend, reopen: Reopen) -> None:
        """Chunks written with a slot come back from every handle as truth, whatever is collected."""
        written = chunks(100)
        backend.append("main", 1, [Record(b"x")], write_id="x", chunks=written)
        backend.collect({})
        for other in (backend, reopen()):
            assert present(other, written) == sorted(written)
            assert {(f.tier, f.owner) for f in other.get_chunks(c.address for c in written)} == {(TRUTH, None)}

    def test_each_chunk_is_found_alone(self, backend: Backend) -> None:
        """Asking for one chunk gives that one, whatever else comes along; all gifts are what they say."""
        written = [*chunks(30), chunk(b""), chunk(b"\0" * 100), *chunks(2, 200_000, seed=5)]
        backend.append("main", 1, [Record(b"x")], write_id="x", chunks=written)
        for wanted in written:
            found = list(backend.get_chunks([wanted.address]))
            assert wanted in [(f.address, f.data) for f in found]
            assert all(chunk(f.data).address == f.address for f in found)

    def test_all_chunks_asked_for_come(self, backend: Backend) -> None:
        """However many are asked for in one call, and however many of them lie beside each other."""
        written = [chunk(b"%d " % n * 20) for n in range(700)]
        backend.append("main", 1, [Record(b"{}")], write_id="w", chunks=written)
        for asked in ([c.address for c in written], [c.address for c in reversed(written)]):
            assert {f.address for f in backend.get_chunks(asked)} == set(asked)

    def test_unknown_chunks_are_passed_over(self, backend: Backend) -> None:
        """Asking for what is not there, or for the same twice, is no error."""
        (known,) = chunks(1)
        backend.append("main", 1, [Record(b"x")], write_id="x", chunks=[known])
        near = known.address[:31] + bytes([known.address[31] ^ 1])
        asked = [near, known.address, bytes(32), known.address]
        assert [f.address for f in backend.get_chunks(asked) if f.address in asked] == [known.address]

    def test_a_cached_chunk_becomes_truth(self, backend: Backend) -> None:
        """A chunk that a slot needs is kept for ever, also where a snapshot had it already."""
        shared = chunks(4)
        fill(backend, 1)
        assert backend.put_snapshot("main", 1, tier=2, note=b"", chunks=shared)
        assert {f.tier for f in backend.get_chunks([shared[0].address])} == {2}
        backend.append("main", 2, [Record(b"x")], write_id="x", chunks=shared[:2])
        assert backend.drop_snapshots("main", [1]) == 1
        assert present(backend, shared) == sorted(shared[:2])
        assert {(f.tier, f.owner) for f in backend.get_chunks(c.address for c in shared)} == {(TRUTH, None)}

    def test_truth_written_twice_is_kept_once(self, backend: Backend) -> None:
        """Writing the same chunks with every slot costs their room once."""
        heavy = chunks(20)
        backend.append("main", 1, [Record(b"x")], write_id="1", chunks=heavy)
        backend.collect({})
        before = backend.size_bytes()
        for slot in range(2, 12):
            backend.append("main", slot, [Record(b"x")], write_id=str(slot), chunks=heavy)
        backend.collect({})
        assert backend.size_bytes() - before < sum(len(c.data) for c in heavy) // 10

    # -- snapshots and notes

    def test_a_snapshot_comes_back(self, backend: Backend, reopen: Reopen) -> None:
        """Number, tier and note of each snapshot are listed in order, and its chunks tell where they stand."""
        fill(backend, 9)
        for number, tier in ((7, 1), (3, 3), (5, 2)):
            kept = chunks(3, seed=number)
            assert backend.put_snapshot("main", number, tier=tier, note=b"n%d" % number, chunks=iter(kept))
        for other in (backend, reopen()):
            listed = [(s.number, s.tier, s.note) for s in other.snapshots("main")]
            assert listed == [(3, 3, b"n3"), (5, 2, b"n5"), (7, 1, b"n7")]
            assert all(s.size_bytes > 0 for s in other.snapshots("main"))
            wanted = chunks(3, seed=5)[0].address
            (found,) = [f for f in other.get_chunks([wanted]) if f.address == wanted]
            assert (found.tier, found.owner) == (2, ("main", 5))

    def test_the_copy_that_lasts_longest_is_read(self, backend: Backend) -> None:
        """Of several copies the one of the highest tier is read; when it goes, the next is found."""
        fill(backend, 5)
        shared = chunks(2)
        wanted = shared[0].address

        def owner() -> tuple[str, int] | None:
            return next((f.owner for f in backend.get_chunks([wanted]) if f.address == wanted), None)

        for number, tier in ((1, 1), (2, 3), (3, 2)):
            backend.put_snapshot("main", number, tier=tier, note=b"", chunks=shared)
        for expected in (("main", 2), ("main", 3), ("main", 1)):
            assert owner() == expected
            assert backend.drop_snapshots("main", [expected[1]]) == 1
        assert list(backend.get_chunks([wanted])) == []

    def test_a_snapshot_of_the_same_number_replaces(self, backend: Backend) -> None:
        """There is one snapshot a record; the older one's own chunks are gone."""
        fill(backend, 2)
        old, new = chunks(4, seed=1), chunks(4, seed=2)
        backend.put_snapshot("main", 2, tier=1, note=b"old", chunks=old)
        backend.put_snapshot("main", 2, tier=2, note=b"new", chunks=new)
        assert [(s.number, s.tier, s.note) for s in backend.snapshots("main")] == [(2, 2, b"new")]
        assert present(backend, old) == []
        assert present(backend, new) == sorted(new)

    def test_a_snapshot_needs_what_it_requires(self, backend: Backend) -> None:
        """A snapshot that builds on one that is gone is refused, and nothing of it is written."""
        fill(backend, 4)
        kept = chunks(2)
        backend.put_snapshot("main", 1, tier=3, note=b"low", chunks=[])
        assert backend.put_snapshot("main", 2, tier=1, note=b"", chunks=kept, requires={1: b"low"})
        backend.drop_snapshots("main", [1])
        extra = chunks(2, seed=7)
        assert not backend.put_snapshot("main", 3, tier=1, note=b"", chunks=extra, requires={1: b"low"})
        assert not backend.put_snapshot("main", 2, tier=2, note=b"", chunks=extra, requires={2: b"", 1: b"low"})
        assert [(s.number, s.tier) for s in backend.snapshots("main")] == [(2, 1)]
        assert present(backend, extra) == []

    def test_a_snapshot_that_was_replaced_is_not_the_one_required(self, backend: Backend) -> None:
        """Another writer may have put other chunks under the number meanwhile: nothing may build on them unseen."""
        fill(backend, 3)
        backend.put_snapshot("main", 1, tier=2, note=b"mine", chunks=chunks(2))
        backend.put_snapshot("main", 1, tier=1, note=b"of somebody else", chunks=[])
        extra = chunks(2, seed=7)
        assert not backend.put_snapshot("main", 2, tier=1, note=b"", chunks=extra, requires={1: b"mine"})
        assert present(backend, extra) == []
        assert backend.put_snapshot("main", 2, tier=1, note=b"", chunks=extra, requires={1: b"of somebody else"})

    def test_a_snapshot_that_fails_leaves_nothing(self, backend: Backend) -> None:
        """When making its chunks fails half-way, there is no snapshot, and the store is sound."""
        fill(backend, 1)

        def failing():  # type: ignore[no-untyped-def]
            yield from chunks(50)
            raise RuntimeError("no more")

        with pytest.raises(RuntimeError, match="no more"):
            backend.put_snapshot("main", 1, tier=1, note=b"", chunks=failing())
        assert backend.snapshots("main") == []
        assert present(backend, chunks(50)) == []
        assert list(backend.check()) == []

    def test_chunks_may_be_read_while_a_snapshot_is_made(self, backend: Backend) -> None:
        """The iterator of a snapshot's chunks may read the same store."""
        old = chunks(60)
        backend.append("main", 1, [Record(b"x")], write_id="x", chunks=old)
        copied = (next(f for f in backend.get_chunks([c.address]) if f.address == c.address) for c in old)
        assert backend.put_snapshot("main", 1, tier=1, note=b"", chunks=(chunk(f.data + b"!") for f in copied))
        wanted = chunk(old[59].data + b"!").address
        assert wanted in {f.address for f in backend.get_chunks([wanted])}

    def test_dropping_counts_what_was_there(self, backend: Backend) -> None:
        """Dropping snapshots and notes says how many there were, and drops no other."""
        fill(backend, 3)
        for number in (1, 2, 3):
            backend.put_snapshot("main", number, tier=1, note=b"", chunks=chunks(1, seed=number))
        assert backend.drop_snapshots("main", [1, 3, 3, 9]) == 2
        assert backend.drop_snapshots("other", [2]) == 0
        assert [s.number for s in backend.snapshots("main")] == [2]
        backend.put_note("a", 1, b"x")
        backend.put_note("a", 2, b"y")
        backend.put_note("b", 1, b"z")
        assert backend.drop_notes("a") == 2
        assert backend.drop_notes("a") == 0
        assert backend.note_names() == ["b"]

    def test_notes_are_found_by_name_and_number(self, backend: Backend, reopen: Reopen) -> None:
        """Notes come in order of number within a range; a later one replaces an earlier."""
        for number in (5, 600, 1, 0):
            backend.put_note("touched/main-1", number, b"%d" % number)
        backend.put_note("touched/main-1", 5, b"again" * 2000)
        for n in range(1000, 1100):
            backend.put_note("many", n, b"")
        for other in (backend, reopen()):
            assert list(other.notes("touched/main-1")) == [(0, b"0"), (1, b"1"), (5, b"again" * 2000), (600, b"600")]
            assert [n for n, _ in other.notes("touched/main-1", 1, 5)] == [1, 5]
            assert [n for n, _ in other.notes("many", 1001)] == list(range(1001, 1100))
            assert other.note_names() == ["many", "touched/main-1"]

    # -- collecting, checking, closing

    def test_collecting_changes_nothing_that_is_kept(self, backend: Backend, reopen: Reopen) -> None:
        """Logs, bodies, truth and kept snapshots read back the same after any number of collections."""
        furnish(backend)
        before = everything(backend)
        for _ in range(3):
            backend.collect({"main": [10]})
            assert everything(backend) == before
            assert everything(reopen()) == before
            assert list(backend.check()) == []
        assert [s.number for s in backend.snapshots("main")] == [10]
        kept = chunks(12, seed=99)
        assert present(backend, kept) == sorted(kept)
        fill(backend, 10, first=36 - 4)
        backend.collect({})
        assert backend.snapshots("main") == []
        assert list(backend.check()) == []

    def test_a_plan_changes_nothing(self, backend: Backend) -> None:
        """A dry run says what would go, and leaves it."""
        furnish(backend)
        plan = backend.collect({"main": [20]}, dry_run=True)
        assert (plan.dropped_snapshots, plan.size_after_bytes) == (1, None)
        assert plan.dropped_bytes > 0
        assert [s.number for s in backend.snapshots("main")] == [10, 20]
        done = backend.collect({"main": [20]})
        assert (done.dropped_snapshots, done.dropped_bytes) == (plan.dropped_snapshots, plan.dropped_bytes)
        assert (done.packed_bodies, done.packed_chunks) == (plan.packed_bodies, plan.packed_chunks)
        assert done.size_after_bytes == backend.size_bytes()

    def test_reading_only_refuses_writes(self, backend: Backend, reopen: Reopen) -> None:
        """Opened read-only, everything is read and every writing method refused."""
        furnish(backend)
        reader = reopen(read_only=True)
        assert reader.read_only
        assert not backend.read_only
        assert everything(reader) == everything(backend)
        assert list(reader.check()) == []
        assert reader.collect({}, dry_run=True).dropped_snapshots == 2
        for write in (
            lambda: reader.append("main", 32, [Record(b"x")], write_id="x"),
            lambda: reader.put_snapshot("main", 1, tier=1, note=b"", chunks=[]),
            lambda: reader.drop_snapshots("main", [10]),
            lambda: reader.put_note("a", 1, b""),
            lambda: reader.drop_notes("a"),
            lambda: reader.collect({}),
        ):
            with pytest.raises(ReadOnlyStore):
                write()

    def test_a_reader_sees_later_commits(self, backend: Backend, reopen: Reopen) -> None:
        """A handle that is open sees what others append, and truth moved by a collection, without being reopened."""
        reader = reopen(read_only=True)
        assert reader.tail("main") == Tail(0, 0)
        furnish(backend)
        assert everything(reader) == everything(backend)
        backend.collect({})
        assert everything(reader) == everything(backend)

    def test_closing_twice_is_allowed(self, backend: Backend, reopen: Reopen) -> None:
        """A closed handle refuses every call with a clear word; others go on."""
        other = reopen()
        fill(backend, 1)
        backend.close()
        backend.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            backend.tail("main")
        with pytest.raises(StoreUnavailable, match="closed"):
            fill(backend, 1, first=2)
        assert other.tail("main") == Tail(1, 1)
