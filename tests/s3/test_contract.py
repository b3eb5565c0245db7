"""The S3 backend keeps the contract, on moto and on a real server."""

from collections.abc import Callable, Iterator

import pytest

from backends import create_backend, open_backend
from backends.contract import Backend
from tests.backends.suite import ContractSuite


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


class TestMoto(_OnS3):
    @pytest.fixture
    def url(self, bucket: str) -> str:
        return f"s3://{bucket}/some/kb"


class TestSeaweed(_OnS3):
    @pytest.fixture
    def url(self, real_bucket: str) -> str:
        return f"s3://{real_bucket}/kb?read_timeout=30"
