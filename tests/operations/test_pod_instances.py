"""A pod is one running instance: of two that register at once, one is told what to do, the other that it is over."""

from secrets import token_urlsafe
from typing import cast

import pytest

from subgraph.domain.errors import LeaseLost
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.fleet.pod_registering import NewPod, PodRegistering
from tests.operations.conftest import Starts, add_tiles
from tests.support.fleets import A
from tests.support.interrupted_live import InterruptedLive
from tests.support.records import owner_in

pytestmark = pytest.mark.anyio

LEASE_MS = 30_000
"""Nobody renews here, and on a busy machine it takes a while until a tile is given."""


async def test_a_registration_that_is_overtaken_is_told_of_no_term_of_the_other_instance(start: Starts) -> None:
    process = await start()
    (tile,) = await add_tiles(process, 1)
    live = InterruptedLive(process.live)
    slow, other = (
        PodRegistering(one, process.view, LEASE_MS, LEASE_MS, lambda: token_urlsafe(8))
        for one in (cast(LiveFleet, live), process.live)
    )
    registered = []

    async def overtake() -> None:
        registered.append(await other.register(NewPod(A, "test", 100.0)))
        await process.until(lambda fleet: fleet.terms_of_pod(A), "the other instance has the tile")

    live.after["register_pod"] = overtake
    with pytest.raises(LeaseLost) as refused:
        await slow.register(NewPod(A, "test", 100.0))
    assert refused.value.superseded
    assert process.view.current().instance_of(A) == registered[0].lease_token
    assert owner_in(process.view.current(), tile).pod_id == A
