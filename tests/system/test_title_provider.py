"""A server that asks a provider for titles: what its settings say, what its metrics count, what it never tells."""

from pathlib import Path

import pytest

from tests.support.server import running_server
from tests.support.title_service import title_service
from tests.support.world import new_session

TITLE = """mutation($id: ID!, $first: String!) { titleSession(input: {id: $id, query: $first}) {
  title source session { title } errors { code message }
} }"""
TOKEN = "a-providers-token"
QUERY = "Which trains of the Hunter line are late?"


@pytest.mark.requirement("Title: skip if there is one; from a title provider if one")
def test_titles_come_from_the_provider_and_without_it_from_the_query(tmp_path: Path) -> None:
    with title_service() as service:
        settings = {
            "SESSION_MANAGER_TITLE_PROVIDER_URL": service.url,
            "SESSION_MANAGER_TITLE_PROVIDER_TOKEN": TOKEN,
            "SESSION_MANAGER_TITLE_PROVIDER_SECONDS": "0.5",
            "SESSION_MANAGER_LOG_LEVEL": "debug",
        }
        with running_server(tmp_path / "titled", **settings) as server:

            def titled() -> tuple[str, str]:
                made = server.data(TITLE, id=new_session(server), first=QUERY)["titleSession"]
                assert made["errors"] == []
                assert made["session"]["title"] == made["title"]
                return made["title"], made["source"]

            fallback = ("Which trains of the Hunter line are...", "FALLBACK")
            assert titled() == ("Late trains", "PROVIDER")
            service.silent_seconds = 5.0
            assert titled() == fallback
            service.silent_seconds, service.status = 0.0, 500
            assert titled() == fallback
            service.status = 200
            assert titled() == ("Late trains", "PROVIDER")
            counted = [line for line in server.http.get("/metrics").text.splitlines() if "titles_asked_total{" in line]
        assert service.sent == [{"query": QUERY}] * 4
        assert service.authorizations == [f"Bearer {TOKEN}"] * 4
    for outcome, count in (("provided", 2), ("late", 1), ("refused", 1), ("busy", 0)):
        assert any(f'outcome="{outcome}"' in line and line.endswith(f" {count}.0") for line in counted), counted
    log = (tmp_path / "titled.log").read_text()
    assert "no title was provided" in log
    assert not any(content in log for content in (TOKEN, "Hunter", "Late trains"))


def test_a_malformed_url_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"SESSION_MANAGER_TITLE_PROVIDER_URL must be an https URL"),
        running_server(tmp_path / "refused", SESSION_MANAGER_TITLE_PROVIDER_URL="titles.example"),
    ):
        pass
