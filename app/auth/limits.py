"""How often something may happen: sliding windows that all workers share in Redis."""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from app.auth import metrics
from app.auth.errors import Refused
from app.auth.keys import Keys

PATIENCE = 0.5
"""Seconds that Redis has to answer."""
PAUSE = 5.0
"""Seconds that Redis is not asked after it did not answer: nobody waits for it one after the other."""
KEPT = 4096
"""Windows that a worker keeps for itself while Redis is away."""

# The exact log of a window, by the clock of Redis. With `add`, takes one up unless the window is full; answers 0, or
# the milliseconds until there is room.
_WINDOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, span, add = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000, ARGV[3]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - span)
if redis.call('ZCARD', KEYS[1]) >= most then
  local oldest = redis.call('ZRANGE', KEYS[1], -most, -most, 'WITHSCORES')
  return math.max(1, math.floor(oldest[2] + span - now))
end
if add ~= '' then
  redis.call('ZADD', KEYS[1], now, add)
  redis.call('PEXPIRE', KEYS[1], span)
end
return 0
"""


class Credential(CredentialProvider):
    """User and password as they stand in the file at each new connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_credentials(self) -> tuple[str, str]:
        told = json.loads(self._path.read_bytes())
        return str(told["user"]), str(told["password"])

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


class Limits:
    def __init__(self, credential: Path, keys: Keys, rates: dict[str, tuple[int, int]]) -> None:
        """
        Args:
            credential: file as an app gets it.
            rates: how often, and within how many seconds, by name.
        """
        told = json.loads(credential.read_bytes())
        self.redis = redis.asyncio.Redis(
            host=told["host"],
            port=told["port"],
            credential_provider=Credential(credential),
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 1),
        )
        self.prefix = str(told["prefix"])
        self._keys = keys
        self._rates = rates
        self._script = self.redis.register_script(_WINDOW)
        self._own: dict[str, deque[float]] = {}
        self._away_until = 0.0

    async def close(self) -> None:
        await self.redis.aclose()

    async def count(self, name: str, subject: str, *, code: str = "over_request_rate_limit") -> None:
        """One more.

        Raises:
            Refused: it is too often; says when it is worth another try.
        """
        await self._ask(name, subject, secrets.token_hex(6), code)

    async def full(self, name: str, subject: str) -> None:
        """The same, without counting.

        Raises:
            Refused: it was too often.
        """
        await self._ask(name, subject, "", "over_request_rate_limit")

    async def forget(self, subject: str, *names: str) -> None:
        """Begin its windows of these names anew."""
        keys = [self._key(name, subject) for name in names]
        for key in keys:
            self._own.pop(key, None)
        if time.monotonic() < self._away_until:
            return
        try:
            await self.redis.delete(*keys)
        except (RedisError, OSError):
            self._away_until = time.monotonic() + PAUSE

    def _key(self, name: str, subject: str) -> str:
        return f"{self.prefix}limit:{name}:{self._keys.subject(subject).hex()}"

    async def _ask(self, name: str, subject: str, add: str, code: str) -> None:
        most, seconds = self._rates[name]
        key = self._key(name, subject)
        left = await self._shared(key, most, seconds, add)
        if left is None:
            left = self._alone(key, most, seconds, bool(add))
        if left:
            metrics.LIMITED.labels(name).inc()
            after = max(1, round(left + 0.5))
            raise Refused(
                429, code, f"For security purposes, you can only request this after {after} seconds.", after=after
            )

    async def _shared(self, key: str, most: int, seconds: int, add: str) -> float | None:
        """Seconds until there is room, as all workers know it; None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            return int(await self._script(keys=[key], args=[most, seconds, add])) / 1000
        except (RedisError, OSError):
            self._away_until = time.monotonic() + PAUSE
            return None

    def _alone(self, key: str, most: int, seconds: int, add: bool) -> float:
        """What this worker knows by itself: while Redis is away, limits hold for each worker rather than not at all."""
        now = time.monotonic()
        window = self._own.pop(key, None) or deque()
        while window and window[0] <= now - seconds:
            window.popleft()
        full = len(window) >= most
        if add and not full:
            window.append(now)
        if window:
            self._own[key] = window
            while len(self._own) > KEPT:
                del self._own[next(iter(self._own))]
        return window[-most] + seconds - now if full else 0
