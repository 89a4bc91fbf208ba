"""A pod that never says that it works on its tiles loses them once the time that is set for it is over."""

from pathlib import Path

from tests.support.server import running_server, until
from tests.support.world import FakeWork, disk, new_session, until_owned

SHUNNED = "query($id: ID!) { pod(id: $id) { status tileCount shunnedUntil } }"


def test_what_a_pod_does_not_take_over_in_the_time_set_goes_to_another(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", SESSION_MANAGER_TAKE_OVER_SECONDS="0.5") as server:
        silent, willing = FakeWork(server), FakeWork(server)
        silent.register()
        tiles = until_owned(server, new_session(server, disk(1)), 7)
        assert {tile["assignment"]["podId"] for tile in tiles} == {silent.id}
        willing.register()

        def all_are_the_others() -> bool:
            # Its lease has nothing to do with it. A new leader takes nothing from anyone for the longest lease.
            for pod in (silent, willing):
                pod.heartbeat()
            return len(willing.terms()) == 7

        until(all_are_the_others, "the tiles are the other one's")
        assert {term["reason"] for term in willing.terms()} == {"NOT_TAKEN_OVER"}
        pod = server.data(SHUNNED, id=silent.id)["pod"]
        assert (pod["status"], pod["tileCount"]) == ("READY", 0)
        assert pod["shunnedUntil"] is not None
