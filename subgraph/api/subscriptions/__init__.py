"""Owns the subscriptions: each asks one operation for a stream, and translates what comes."""

import strawberry

from subgraph.api.subscriptions.fleet import FleetSubscriptions
from subgraph.api.subscriptions.sessions import SessionSubscriptions


@strawberry.type(
    description=(
        "Live streams, over WebSocket. A reader that is too slow is cut off with SLOW_CONSUMER and should subscribe "
        "again; where a stream can be resumed, `extensions.after` is the cursor for it. Streams of sessions end "
        "with JOURNAL_PUT_BACK when the journal was restored to an earlier state, as by a backup: then read anew, and "
        "subscribe without a cursor."
    )
)
class Subscription(SessionSubscriptions, FleetSubscriptions):
    """All subscriptions: each subject's in a module of its own."""
