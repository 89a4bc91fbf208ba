"""Owns which operations are the largest that are accepted."""

from collections.abc import Sequence
from typing import Any

import h3
from turning.world import ASSOCIATES, CREATE, PODS, REPORT, SESSIONS, Made

POD = """id service zone status capacity maxTiles load utilization tileCount appliedVersion
  shunnedUntil registeredAt lastHeartbeatAt leaseExpiresAt"""
TERM = "id tileId podId state reason epoch pinned replaces assignedAt acknowledgedAt releasedAt load"
TILE = """id sessionId h3Index resolution center { lat lng } retiredAt health capacity utilization quarantinedUntil
  load { recordsPerSecond bytesPerSecond backlog volumeBytes smoothed reportedAt } forbiddenPodIds"""
SESSION = """id displayName tenantId ownerId externalId title state isMain revision dataSource type version utcOffset
  metadata createdAt updatedAt lastActiveAt expiresAt endedAt
  deletedAt deletedBy ttl expiryPolicy context maxHistory tokenBudget tickInterval"""
EVENT = "id sequence cursor type sessionId actor agentId runId message occurredAt payload"


def operations(made: Made) -> dict[str, dict[str, Any]]:
    """The largest operations that are accepted, by name: what is posted."""

    def entities(kind: str, ids: Sequence[str], fields: str) -> dict[str, Any]:
        references = [{"__typename": kind, "id": one} for one in ids]
        text = f"query($r: [_Any!]!) {{ _entities(representations: $r) {{ ... on {kind} {{ {fields} }} }} }}"
        return {"query": text, "variables": {"r": references}}

    def tiles(count: int, fields: str, pages: int) -> dict[str, Any]:
        some = " ".join(
            f"p{n}: tiles(first: {count}) {{ edges {{ cursor node {{ {fields} }} }} }}" for n in range(pages)
        )
        return {
            "query": f"query($id: ID!) {{ session(ref: {{id: $id}}) {{ {some} }} }}",
            "variables": {"id": made.session_id},
        }

    by_turns = [made.session_ids[n % SESSIONS] for n in range(10_000)]
    parents = made.session_ids[:ASSOCIATES]
    pods = [f"pod-{n % PODS:02}" for n in range(10_000)]
    acks = [{"assignmentId": one, "phase": "ACTIVE"} for one in made.terms]
    return {
        "tiles: 1,000, few fields": tiles(1_000, "id h3Index health assignment { podId epoch }", 1),
        "tiles: 9,000, all fields, terms": tiles(1_000, f"{TILE} assignment {{ {TERM} }}", 9),
        "tiles: 7,000, session, term, pod": tiles(
            1_000, f"{TILE} session {{ {SESSION} }} assignment {{ {TERM} pod {{ {POD} }} }}", 7
        ),
        "tiles: 4,000, boundaries": tiles(1_000, "id boundary { lat lng }", 4),
        "tiles: 3,000, neighbors": tiles(1_000, "id neighbors { id health capacity utilization }", 3),
        "tiles: 3,000, parents, children": tiles(1_000, "id parent { id } children { id }", 3),
        "tiles: 4,000, history": tiles(1_000, f"id history(first: 4) {{ edges {{ node {{ {TERM} }} }} }}", 4),
        "tiles: 1,000, explanations": tiles(
            100, "id explanation(first: 20) { candidates { feasible rejectedBy pod { id } } }", 10
        ),
        "_entities: 10,000 sessions": entities("Session", by_turns, "id displayName state"),
        "_entities: 10,000 sessions, all fields": entities("Session", by_turns, SESSION),
        "_entities: 4,000 sessions, partitions": entities(
            "Session", by_turns[:4_000], "id partition { tileCount tilesByHealth { count } }"
        ),
        "_entities: 10,000 tiles": entities("Tile", made.tile_ids, "id health"),
        "_entities: 10,000 tiles, joined": entities(
            "Tile", made.tile_ids, f"{TILE} session {{ id displayName }} assignment {{ {TERM} }}"
        ),
        "_entities: 10,000 pods": entities("Pod", pods, POD),
        "_entities: 10,000 terms, joined": entities(
            "PodAssignment", made.terms, f"{TERM} tile {{ {TILE} }} pod {{ {POD} }}"
        ),
        "_entities: 40 pods' 400 terms": entities(
            "Pod", pods[:40], f"id assignments(first: 400) {{ edges {{ node {{ {TERM} tile {{ id }} }} }} }}"
        ),
        "_entities: 10,000 no references": {
            "query": "query($r: [_Any!]!) { _entities(representations: $r) { __typename } }",
            "variables": {"r": [{"__typename": "Nothing", "id": one} for one in made.tile_ids]},
        },
        "sessions: 100, associates, their events": {
            "query": f"""{{ sessions(first: 100) {{ edges {{ node {{ {SESSION}
              associates(first: 10) {{ edges {{ node {{ id
                events(first: 20) {{ edges {{ node {{ {EVENT} }} }} }} }} }} }}
            }} }} }} }}""",
            "variables": {},
        },
        "_entities: 100 sessions, associates": entities(
            "Session", parents, f"id associates(first: 100) {{ edges {{ node {{ {SESSION} }} }} }}"
        ),
        "_entities: 20 sessions, associates, parents": entities(
            "Session",
            parents[:20],
            "id associates(first: 40) { edges { node { id"
            f" parents(first: 20) {{ edges {{ node {{ {SESSION} }} }} }} }} }} }}",
        ),
        "_entities: 9 sessions' 1,000 tiles": entities(
            "Session", [made.session_id] * 9, f"id tiles(first: 1000) {{ edges {{ node {{ {TILE} }} }} }}"
        ),
        "rebalancePlan": {
            "query": f"""{{ rebalancePlan(input: {{emergency: false}}) {{ id moveCount
              moves(first: 1000) {{ edges {{ node {{ reason load gain
                tile {{ {TILE} }} from {{ {POD} }} to {{ {POD} }} }} }} }}
              }} }}""",
            "variables": {},
        },
        "acknowledge 10,000": {
            "query": "mutation($i: AcknowledgeAssignmentsInput!) { acknowledgeAssignments(input: $i) {"
            f" assignments {{ {TERM} tile {{ {TILE} }} }} errors {{ message }} }} }}",
            "variables": {"i": {**made.lease, "acknowledgements": acks}},
        },
        "report 10,000": {
            "query": REPORT,
            "variables": {
                "i": {
                    **made.lease,
                    "loads": [{"tileId": one, "epoch": 1, "recordsPerSecond": 1.5} for one in made.tile_ids],
                }
            },
        },
        "exportSession": {
            "query": "query($id: ID!) { exportSession(id: $id) }",
            "variables": {"id": made.session_id},
        },
        "createSession with 90,000 cells": {
            "query": CREATE,
            "variables": {
                "i": {"coverage": {"cells": sorted(h3.grid_disk(h3.latlng_to_cell(0.0, 0.0, 8), 170))[:80_000]}}
            },
        },
        "introspection": {"query": _INTROSPECTION, "variables": {}},
        "a document of 5,000 tokens": {"query": "{ " + "__typename " * 4_990 + "}", "variables": {}},
        "a small request": {
            "query": "query($id: ID!) { session(ref: {id: $id}) { id } }",
            "variables": {"id": made.session_id},
        },
    }


_TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
_INTROSPECTION = f"""{{ __schema {{ types {{ kind name description fields {{ name description type {{ {_TYPE} }}
  args {{ name description type {{ {_TYPE} }} defaultValue }} }} inputFields {{ name description type {{ {_TYPE} }}
  defaultValue }} enumValues {{ name description }} possibleTypes {{ {_TYPE} }} }} }} }}"""
