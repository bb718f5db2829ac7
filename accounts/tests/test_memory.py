"""What `Memory` promises to those who ask it."""

import asyncio

import pytest

from accounts.memory import Memory


class Shelf:
    """A slow source: it counts its reads, and answers once the test opens it."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, key: str) -> str:
        self.reads.append(key)
        number = len(self.reads)
        self.asked.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return f"{key}{number}"


def over(shelf: Shelf, *, ttl_s: float = 60, most: int = 10) -> Memory[str, str]:
    return Memory(shelf.read, ttl_s=ttl_s, most=most)


async def test_it_reads_once_within_its_time_to_live() -> None:
    shelf = Shelf()
    shelf.open.set()
    memory = over(shelf)
    assert [await memory.get("a"), await memory.get("a")] == ["a1", "a1"]


async def test_it_reads_again_once_the_time_is_over() -> None:
    shelf = Shelf()
    shelf.open.set()
    memory = over(shelf, ttl_s=0)
    assert [await memory.get("a"), await memory.get("a")] == ["a1", "a2"]


async def test_it_reads_once_for_all_who_ask_at_the_same_moment() -> None:
    shelf = Shelf()
    memory = over(shelf)
    asking = [asyncio.create_task(memory.get("a")) for _ in range(50)]
    await asyncio.wait_for(shelf.asked.wait(), 5)
    shelf.open.set()
    assert await asyncio.gather(*asking) == ["a1"] * 50
    assert shelf.reads == ["a"]


async def test_it_goes_on_reading_for_the_others_when_one_leaves() -> None:
    shelf = Shelf()
    memory = over(shelf)
    leaving, staying = (asyncio.create_task(memory.get("a")) for _ in range(2))
    await asyncio.wait_for(shelf.asked.wait(), 5)
    leaving.cancel()
    await asyncio.wait([leaving], timeout=5)
    shelf.open.set()
    assert leaving.cancelled()
    assert await staying == "a1"
    assert shelf.reads == ["a"]


async def test_it_tells_an_error_to_all_and_does_not_keep_it() -> None:
    shelf = Shelf()
    shelf.error = LookupError("gone")
    memory = over(shelf)
    asking = [asyncio.create_task(memory.get("a")) for _ in range(3)]
    await asyncio.wait_for(shelf.asked.wait(), 5)
    shelf.open.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert told == [shelf.error] * 3
    shelf.error = None
    assert await memory.get("a") == "a2"


async def test_it_never_keeps_more_than_its_bound() -> None:
    shelf = Shelf()
    shelf.open.set()
    memory = over(shelf, most=2)
    for key in "abac":  # "b" is the longest unused when "c" comes
        await memory.get(key)
    assert shelf.reads == ["a", "b", "c"]
    await memory.get("a")
    await memory.get("c")
    assert shelf.reads == ["a", "b", "c"]
    await memory.get("b")
    assert shelf.reads == ["a", "b", "c", "b"]


async def test_it_forgets_what_it_is_told_to_forget() -> None:
    shelf = Shelf()
    shelf.open.set()
    memory = over(shelf)
    await memory.get("a")
    memory.forget("a")
    memory.forget("never read")
    assert await memory.get("a") == "a2"


async def test_it_does_not_keep_what_was_forgotten_while_it_was_read() -> None:
    shelf = Shelf()
    memory = over(shelf)
    early = asyncio.create_task(memory.get("a"))
    await asyncio.wait_for(shelf.asked.wait(), 5)
    memory.forget("a")
    shelf.asked.clear()
    late = asyncio.create_task(memory.get("a"))
    await asyncio.wait_for(shelf.asked.wait(), 5)
    shelf.open.set()
    assert [await early, await late, await memory.get("a")] == ["a1", "a2", "a2"]


async def test_it_serves_a_second_loop_while_the_first_still_reads() -> None:
    shelf = Shelf()
    memory = over(shelf)
    waiting = asyncio.create_task(memory.get("a"))
    await asyncio.wait_for(shelf.asked.wait(), 5)

    async def quick(key: str) -> str:
        return key

    memory._load = quick  # the first read is stuck; the second loop's goes through
    # A page on a thread of its own has a loop of its own.
    assert await asyncio.to_thread(asyncio.run, memory.get("a")) == "a"
    shelf.open.set()
    assert await waiting == "a1"


async def test_it_starts_over_after_its_reader_was_cancelled() -> None:
    shelf = Shelf()
    memory = over(shelf)
    asking = asyncio.create_task(memory.get("a"))
    await asyncio.sleep(0)  # `get` has made its reader, which has not had its first step yet
    memory._under_way["a"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    shelf.open.set()
    assert await memory.get("a") == "a1"
