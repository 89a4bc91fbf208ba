"""Owns the subscriptions: each asks one operation for a stream, and translates what comes."""

import strawberry

from subgraph.api.subscriptions.fleet import FleetSubscriptions
from subgraph.api.subscriptions.sessions import SessionSubscriptions


@strawberry.type(
    description=(
        "What can be followed. A reader that is too slow is cut off with SLOW_CONSUMER, and should subscribe again; "
        "where a stream can be resumed, `extensions.after` says behind which cursor. Streams of sessions end with "
        "JOURNAL_PUT_BACK when the journal was put back to an earlier state, as by a restored backup: then read anew, "
        "and subscribe without a cursor."
    )
)
class Subscription(SessionSubscriptions, FleetSubscriptions):
    """All subscriptions: each subject's in a module of its own."""
