"""zarr's view of a place: the path itself, or a bucket through obstore with our retries and credentials."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Self

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from connectomics.io.place import Place, RemotePath
from connectomics.io.remote import missing_bucket


def zarr_at(place: Place) -> Any:
    """What zarr's functions take as `store` to open or make something at a place."""
    if isinstance(place, RemotePath):
        return RemoteStore(place, read_only=place.link.read_only)
    return place


class RemoteStore(ObjectStore[Any]):
    """What lies below a URL; pickled as that URL, so that workers connect by themselves.

    All stores of a bucket share this process's one connection to it. zarr makes the groups above what it
    writes, up to the top of its store: that must be the place asked for and not the bucket.

    Parameters
    ----------
    place
        The top.
    read_only
        Refuse writes.
    """

    def __init__(self, place: RemotePath, *, read_only: bool = False) -> None:
        self.place = place
        self.link = place.link
        super().__init__(self.link.store, read_only=read_only)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.place, self.read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.place, self.read_only))

    def __str__(self) -> str:
        return str(self.place)

    def with_read_only(self, read_only: bool = False) -> Self:
        """The same store, read-only or not."""
        return type(self)(self.place, read_only=read_only)

    @property
    def supports_listing(self) -> bool:
        """False for a web server, which cannot say what there is."""
        return not self.link.read_only

    def _full(self, key: str) -> str:
        return f"{self.place.key}/{key}".strip("/")

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See `zarr.abc.store.Store`."""
        get = super().get
        return await self.link.call_async(lambda: get(self._full(key), prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """See `zarr.abc.store.Store`."""
        ranges, get = [(self._full(key), part) for key, part in key_ranges], super().get_partial_values
        return await self.link.call_async(lambda: get(prototype, ranges))

    async def exists(self, key: str) -> bool:
        """See `zarr.abc.store.Store`."""
        exists = super().exists
        return await self.link.call_async(lambda: exists(self._full(key)))

    async def getsize(self, key: str) -> int:
        """See `zarr.abc.store.Store`."""
        getsize = super().getsize
        return await self.link.call_async(lambda: getsize(self._full(key)))

    async def getsize_prefix(self, prefix: str) -> int:
        """See `zarr.abc.store.Store`."""
        return sum([await self.getsize(key) async for key in self.list_prefix(prefix)])

    async def set(self, key: str, value: Buffer) -> None:
        """See `zarr.abc.store.Store`."""
        await self._put(super().set, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """See `zarr.abc.store.Store`."""
        await self._put(super().set_if_not_exists, key, value)

    async def _put(self, put: Any, key: str, value: Buffer) -> None:
        for _ in range(2):  # an upload in parts whose last answer was lost is "not found" too
            try:
                return await self.link.call_async(lambda: put(self._full(key), value))
            except FileNotFoundError:
                continue
        raise missing_bucket(self.link)

    async def delete(self, key: str) -> None:
        """See `zarr.abc.store.Store`."""
        delete = super().delete
        await self.link.call_async(lambda: delete(self._full(key)))

    async def delete_dir(self, prefix: str) -> None:
        """See `zarr.abc.store.Store`."""
        async for key in self.list_prefix(prefix):
            await self.delete(key)

    async def list(self) -> AsyncGenerator[str, None]:
        """See `zarr.abc.store.Store`."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """See `zarr.abc.store.Store`."""
        below, skip = super().list_prefix, len(self._full("x")) - 1
        for key in await self.link.call_async(lambda: _all(below(self._full(prefix)))):
            yield key[skip:]

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """See `zarr.abc.store.Store`."""
        level = super().list_dir
        for name in await self.link.call_async(lambda: _all(level(self._full(prefix)))):
            yield name


async def _all(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


def _reopen(place: RemotePath, read_only: bool) -> RemoteStore:
    return RemoteStore(place, read_only=read_only)
