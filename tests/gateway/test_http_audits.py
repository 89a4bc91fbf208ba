"""GraphQL over HTTP, as graphql-http's own audits have it: every MUST, SHOULD and MAY of them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.server import RunningServer

HERE = Path(__file__).parent
AUDIT_SECONDS_MAX = 60

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.mark.usefixtures("node_packages")
def test_the_server_passes_all_audits_of_graphql_over_http(server: RunningServer) -> None:
    command = ["node", "http-audits.mjs", f"{server.url}/graphql"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=AUDIT_SECONDS_MAX)
    assert done.returncode == 0, done.stderr
    audits = json.loads(done.stdout)
    assert len(audits) > 50
    assert [(one["name"], one["reason"]) for one in audits if one["status"] != "ok"] == []
