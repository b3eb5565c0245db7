"""The S3 backend keeps the contract, on a real server and on emulators."""

from collections.abc import Callable, Iterator

import pytest

from kbstore.backends import create_backend, open_backend
from kbstore.backends.base import Backend
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


OF_THE_SERVER = {
    "test_an_empty_store_has_nothing", "test_records_read_back_as_written", "test_ranges_and_order",
    "test_long_logs_are_read_in_pieces", "test_any_bytes_are_kept", "test_logs_are_apart",
    "test_only_the_next_slot_can_be_written", "test_a_write_is_found_by_its_id", "test_two_handles_race_for_a_slot",
    "test_each_chunk_is_found_alone", "test_a_snapshot_comes_back", "test_dropping_counts_what_was_there",
}  # fmt: skip
"""What depends on how a server answers: conditional writes, listings, ranges, bytes, removal."""


class _OnMore(_OnS3):
    """On emulators; in `make test` what does not depend on the server is left to the real one."""


if not LONG:
    for name in {name for name in vars(ContractSuite) if name.startswith("test_")} - OF_THE_SERVER:
        setattr(_OnMore, name, None)


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
