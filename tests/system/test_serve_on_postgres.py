"""`session-manager serve` on PostgreSQL: servers that share one have the same sessions, and keep them over restarts."""

from pathlib import Path

import pytest

from tests.support.databases import empty_postgres
from tests.support.server import running_server
from tests.support.world import new_session

pytestmark = pytest.mark.long

QUERY = "query($id: ID!) { session(ref: {id: $id}) { displayName } }"


def test_two_servers_on_one_database_see_each_others_sessions_and_so_does_a_later_one(tmp_path: Path) -> None:
    url = empty_postgres(tmp_path)
    with (
        running_server(tmp_path / "a", "--database-url", url) as first,
        running_server(tmp_path / "b", "--database-url", url) as second,
    ):
        session_id = new_session(first, displayName="shared")
        assert second.data(QUERY, id=session_id) == {"session": {"displayName": "shared"}}
        taken = second.data(
            "mutation($name: String!) { createSession(input: {displayName: $name}) "
            "{ errors { __typename ... on SessionNameTaken { conflictingId } } } }",
            name="shared",
        )
        assert taken["createSession"]["errors"][0].get("conflictingId") == session_id
    with running_server(tmp_path / "c", "--database-url", url) as later:
        assert later.data(QUERY, id=session_id) == {"session": {"displayName": "shared"}}
