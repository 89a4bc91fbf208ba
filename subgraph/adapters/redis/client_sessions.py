"""Owns the mapping from chat clients' ids to sessions in Redis; an entry expires when it is not used."""

from datetime import timedelta
from hashlib import sha256
from importlib.resources import files

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import client_session_key
from subgraph.domain.ids import TenantId
from subgraph.domain.prompt_session import ClientClaim

_MILLISECOND = timedelta(milliseconds=1)


class RedisClientSessions:
    """The port ClientSessions on Redis."""

    def __init__(self, redis: Redis, lives_for: timedelta) -> None:
        source = files("subgraph.adapters.redis") / "scripts" / "claim_client_session.lua"
        self._claim = redis.register_script(source.read_text(encoding="utf-8"))
        self._lives_ms = lives_for // _MILLISECOND

    async def claim(self, tenant_id: TenantId, client_id: str, owner_id: str) -> ClientClaim:
        """Use an id on behalf of an owner, if it is nobody else's; that renews the mapping, and counts."""
        # Of one length, whatever the client sends.
        digest = sha256(client_id.encode(errors="surrogatepass")).hexdigest()
        with told_as_unavailable():
            owner, count = await self._claim(
                keys=[client_session_key(tenant_id, digest)],
                args=[owner_id.encode(errors="surrogatepass"), self._lives_ms],
            )
        return ClientClaim(owner.decode(errors="surrogatepass"), count)
