"""The S3 backend keeps the contract, on a real server and on emulators."""

from collections.abc import Callable, Iterator

import pytest

from backends import create_backend, open_backend
from backends.contract import Backend
from tests.backends.suite import ContractSuite
from tests.conftest import LONG


class _OnS3(ContractSuite):
    """The suite on a store whose URL a fixture ``url`` of the subclass gives."""

    @pytest.fixture
    def backend(self, url: str) -> Iterator[Backend]:
        backend = create_backend(url)
        yield backend
        backend.close()

    @pytest.fixture
    def reopen(self, backend: Backend, url: str) -> Iterator[Callable[..., Backend]]:
        opened = []

        def reopen(read_only: bool = False) -> Backend:
            opened.append(open_backend(url, read_only=read_only))
            return opened[-1]

        yield reopen
        for handle in opened:
            handle.close()


class TestSeaweed(_OnS3):
    @pytest.fixture
    def url(self, real_bucket: str) -> str:
        return f"s3://{real_bucket}/kb?read_timeout=30"


class _OnMore(_OnS3):
    """On emulators; what takes long, and does not depend on how a server answers, is left to the real one."""

    if not LONG:
        test_reading_only_refuses_writes = None  # type: ignore[assignment]
        test_an_iterator_holds_nothing = None  # type: ignore[assignment]
        test_a_plan_changes_nothing = None  # type: ignore[assignment]
        test_notes_are_found_by_name_and_number = None  # type: ignore[assignment]
        test_collecting_changes_nothing_that_is_kept = None  # type: ignore[assignment]
        test_threads_append_every_slot_once = None  # type: ignore[assignment]
        test_a_reader_sees_later_commits = None  # type: ignore[assignment]


class TestMoto(_OnMore):
    @pytest.fixture
    def url(self, bucket: str) -> str:
        return f"s3://{bucket}/some/kb"


class TestMinistack(_OnMore):
    @pytest.fixture
    def url(self, place_on: Callable[[str, str], str]) -> str:
        return place_on("ministack", "https")


class TestLocalbucket(_OnMore):
    @pytest.fixture
    def url(self, place_on: Callable[[str, str], str]) -> str:
        return place_on("localbucket", "http")


def _with(server: str, scheme: str) -> type[_OnS3]:
    class Other(_OnS3):
        @pytest.fixture
        def url(self, place_on: Callable[[str, str], str]) -> str:
            return place_on(server, scheme)

    return pytest.mark.long(Other)


TestMotoTls = _with("moto", "https")
TestSeaweedTls = _with("seaweed", "https")
TestMinistackPlain = _with("ministack", "http")
TestLocalbucketTls = _with("localbucket", "https")
