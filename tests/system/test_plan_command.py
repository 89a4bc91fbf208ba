"""`session-manager plan`: a dry run of a running server as a table, and its errors as one line."""

from click.testing import CliRunner, Result

from subgraph.cli import main
from tests.support.server import RunningServer
from tests.support.world import FakeWork, disk, new_session, until_owned


def plan(server: RunningServer, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--url", f"{server.url}/graphql", *arguments])


def test_it_prints_the_moves_and_how_to_do_them(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    until_owned(server, new_session(server, disk(1, -20, 30)), 7)
    pod.acknowledge()
    supposed = plan(server, "--remove-pod", pod.id, "--add-pod", "supposed:1000")
    assert supposed.exit_code == 0, supposed.output
    assert "before" in supposed.output
    assert "supposed" in supposed.output
    assert "rebalance(input" not in supposed.output
    assert plan(server, "--load-factor", "2").exit_code == 0
    pod.leave()


def test_what_cannot_be_planned_is_one_line(server: RunningServer) -> None:
    for arguments, says in (
        (("--remove-pod", "nobody"), "nobody"),
        (("--add-pod", "x"), "ID:CAPACITY"),
        (("--load-factor", "0"), "--load-factor must be above 0"),
        (("--load-factor", "nan"), "--load-factor"),
        (("--max-churn", "2"), "--max-churn is a share"),
    ):
        failed = plan(server, *arguments)
        assert failed.exit_code == 1
        (line,) = failed.output.strip().splitlines()
        assert says in line
    lost = CliRunner().invoke(main, ["plan", "--url", f"{server.url}/elsewhere"])
    assert (lost.exit_code, len(lost.output.strip().splitlines())) == (1, 1)
    assert "404" in lost.output
    away = CliRunner().invoke(main, ["plan", "--url", "http://127.0.0.1:1/graphql"])
    assert (away.exit_code, len(away.output.strip().splitlines())) == (1, 1)
