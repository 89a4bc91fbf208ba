"""Owns the example operations in the tabs of GraphiQL."""

MAIN_SESSION_EXAMPLE = """\
# The live world of your tenant: its main session,
# and the tiles that partition it.
query MainSession {
  mainSession {
    id
    displayName
    state
    createdAt
    tiles(first: 10) {
      totalCount
      edges {
        node {
          h3Index
          health
          utilization
          load {
            recordsPerSecond
          }
          assignment {
            podId
            state
            epoch
          }
        }
      }
    }
  }
}
"""

FLEET_EXAMPLE = """\
# The pods that share the tiles of all sessions.
query Fleet {
  fleet {
    version
    tileCount
    unassignedTiles
    imbalance
    rebalancing {
      lastSkip
    }
    pods(first: 20) {
      edges {
        node {
          id
          status
          load
          capacity
          tileCount
        }
      }
    }
  }
}
"""

CREATE_SESSION_EXAMPLE = """\
# An experiment over three tiles near San Francisco.
mutation CreateSession {
  createSession(
    input: {
      dataSource: "bay"
      coverage: {
        cells: ["8528308ffffffff", "85283083fffffff", "8528309bfffffff"]
      }
    }
  ) {
    session {
      id
      displayName
      revision
      tiles {
        totalCount
      }
    }
    errors {
      code
      message
      path
    }
  }
}
"""

FLEET_CHANGES_EXAMPLE = """\
# Pushed over a WebSocket at this same address. What stands
# under Headers is sent as its connection_init payload.
subscription FleetChanges {
  fleetChanges {
    version
    podCount
    tileCount
    unassignedTiles
    movesInFlight
    imbalance
  }
}
"""

SESSION_EVENTS_EXAMPLE = """\
# What happens to the tenant's sessions, from now on. With the
# cursor of an event as `after`, all that followed it comes first.
subscription SessionEvents($after: String) {
  sessionEvents(after: $after) {
    cursor
    type
    sessionId
    actor
    occurredAt
    payload
  }
}
"""

FURTHER_EXAMPLES = (FLEET_EXAMPLE, CREATE_SESSION_EXAMPLE, FLEET_CHANGES_EXAMPLE, SESSION_EVENTS_EXAMPLE)
