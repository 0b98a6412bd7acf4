"""A value that is dear to make, kept for a moment and made once for all who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    def __init__(self, make: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value, at most ``seconds`` old. A failure is not kept."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] >= self._seconds:
                value = await self._make()
                self._kept = (time.monotonic(), value)
            return self._kept[1]
