"""Owns what a pod of the small world can do next, and what must hold as it hears what it is to do."""

from collections.abc import Iterator

from msgspec.structs import replace

from subgraph.client import lease
from subgraph.domain import ownership
from subgraph.domain.errors import LeaseLost
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import (
    AssignmentState,
    TileRecord,
    terms_of,
)
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.simulation.exploration.small_world import (
    LEASE,
    LONG_AGO,
    SLOWNESS,
    Ack,
    Pod,
    SmallWorld,
    Told,
)
from tests.support.store_twin import StoreTwin


class Broken(Exception):
    """What must always hold does not."""


def pod_steps(world: SmallWorld, index: int) -> Iterator[tuple[str, SmallWorld]]:
    pod = world.pods[index]

    def after(
        name: str, changed: Pod, store: StoreTwin | None = None, among: SmallWorld = world
    ) -> tuple[str, SmallWorld]:
        pods = (*world.pods[:index], changed, *world.pods[index + 1 :])
        stored = among.stored if store is None else store.stored
        return f"{pod.name} {name}", replace(among, stored=stored, pods=pods)

    if pod.instance == 1 and pod.tokens_used:
        yield after("starts anew", Pod(pod.id, instance=2, tokens_used=pod.tokens_used))
    if pod.token is None:
        store = world.store()
        if pod.asked_at is None:
            yield after("asks to be registered", *_ask(store, pod))
        else:
            yield after("is registered", *_registered(store, pod))
        return
    store = world.store()
    try:
        store.renew_lease(pod.lease, None, None)
    except LeaseLost:
        yield after("learns that its lease is lost", replace(pod, token=None, asked_at=None, works_until=LONG_AGO))
    else:
        yield after("renews its lease", replace(pod, works_until=_works_for()), store)
        told = _terms(store, pod.id)
        if told != pod.told:
            yield after("is about to be told", replace(pod, told=told))
    if pod.told is not None:
        heard, acks, users = _hear(world, pod, pod.told)
        yield after("hears", heard, among=replace(world, acks=world.acks | acks, users=world.users | users))
    for term in sorted(pod.preparing):
        changed = replace(pod, preparing=pod.preparing - {term}, prepared=pod.prepared | {term})
        ack = Ack(pod.id, pod.token, *term, "READY")
        among = replace(world, acks=world.acks | {ack}, ready=world.ready | {term})
        yield after(f"is ready for {term}", changed, among=among)


def _ask(store: StoreTwin, pod: Pod) -> tuple[Pod, StoreTwin]:
    token = f"{pod.id}.{pod.tokens_used + 1}"
    store.register_pod(pod.id, PodRecord("small", 1.0, LEASE, token, 0, era=store.stored.era))
    return replace(pod, asked_at=0, tokens_used=pod.tokens_used + 1), store


def _registered(store: StoreTwin, pod: Pod) -> tuple[Pod, StoreTwin]:
    token = f"{pod.id}.{pod.tokens_used}"
    registered = replace(pod, token=token, asked_at=None)
    registered_at = store.stored.pods[pod.id].version
    try:
        writes = []
        for tile_id, found in store.stored.tiles.items():
            left = _without_former(found.record, pod, tile_id, registered_at)
            if left != found.record:
                writes.append(TileWrite(tile_id, found.version, left))
        store.commit(registered.lease, writes)
    except LeaseLost:
        return replace(pod, asked_at=None), store
    told = _terms(store, pod.id)
    living = {(one.tile_id, one.epoch) for one in told}
    owned = {tile_id: epoch for tile_id, epoch in pod.owned.items() if (tile_id, epoch) in living}
    assert pod.asked_at is not None
    return replace(registered, owned=owned, works_until=pod.asked_at + _works_for(), told=told), store


def _without_former(record: TileRecord, pod: Pod, tile_id: TileId, registered_at: int) -> TileRecord | None:
    after: TileRecord | None = record
    for term, state in terms_of(record):
        if term.pod_id != pod.id or term.epoch > registered_at or term.epoch == pod.owned.get(tile_id):
            continue
        match state:
            case AssignmentState.ACTIVE:
                after = after and ownership.drop_owner(after)
            case AssignmentState.PREPARING:
                after = after and ownership.abort(after)
            case _:
                after = after and ownership.drop_draining(after)
    return after


def _hear(
    world: SmallWorld, pod: Pod, told: tuple[Told, ...]
) -> tuple[Pod, frozenset[Ack], frozenset[tuple[TileId, int, str]]]:
    living = {(one.tile_id, one.epoch) for one in told}
    owned = {tile_id: epoch for tile_id, epoch in pod.owned.items() if (tile_id, epoch) in living}
    preparing, acks = pod.preparing & living, []
    for tile_id, epoch, state in told:
        _check_user(world, pod, tile_id, epoch)
        match state:
            case AssignmentState.DRAINING:
                owned.pop(tile_id, None)
                acks.append(Ack(pod.id, pod.token or "", tile_id, epoch, "RELEASED"))
            case AssignmentState.ACTIVE:
                if owned.get(tile_id) != epoch:
                    _check_others(world, pod, tile_id, epoch)
                    owned[tile_id] = epoch
                acks.append(Ack(pod.id, pod.token or "", tile_id, epoch, "ACTIVE"))
            case AssignmentState.PREPARING:
                if (tile_id, epoch) in pod.prepared:
                    acks.append(Ack(pod.id, pod.token or "", tile_id, epoch, "READY"))
                else:
                    preparing |= {(tile_id, epoch)}
    heard = replace(pod, owned=owned, preparing=preparing, prepared=pod.prepared & living, told=None)
    return heard, frozenset(acks), frozenset((tile_id, epoch, pod.name) for tile_id, epoch, _ in told)


def _check_user(world: SmallWorld, pod: Pod, tile_id: TileId, epoch: int) -> None:
    others = [user for one, used, user in world.users if (one, used) == (tile_id, epoch) and user != pod.name]
    if others:
        raise Broken(f"epoch {epoch} of {tile_id} is used by {others[0]} and {pod.name}")


def _check_others(world: SmallWorld, pod: Pod, tile_id: TileId, epoch: int) -> None:
    for other in world.pods:
        held = other.works_on(tile_id) if other.id != pod.id else None
        if held is None:
            continue
        if held >= epoch:
            raise Broken(f"{pod.name} is given {tile_id} at {epoch}, and {other.name} works on it at {held}")
        if not any(one == tile_id and held < ready <= epoch for one, ready in world.ready & world.in_force):
            raise Broken(f"{pod.name} is given {tile_id} at {epoch} while {other.name} works on it; nobody was ready")


def _terms(store: StoreTwin, pod_id: PodId) -> tuple[Told, ...]:
    return tuple(
        Told(tile_id, term.epoch, state)
        for tile_id, found in store.stored.tiles.items()
        for term, state in terms_of(found.record)
        if term.pod_id == pod_id
    )


def _works_for() -> int:
    margin = -(-LEASE * lease.SAFETY_MARGIN_SHARE // 1)
    return LEASE - int(margin) + SLOWNESS
