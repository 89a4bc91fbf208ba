"""GraphiQL without a browser: what the page says, where its assets come from, and what a browser is told of them."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
from graphql import build_schema, get_operation_ast, parse, validate
from starlette.applications import Starlette

from subgraph.api.graphiql import graphiql_csp, graphiql_page, graphiql_routes
from subgraph.api.graphiql_examples import FURTHER_EXAMPLES, MAIN_SESSION_EXAMPLE
from subgraph.api.schema import print_sdl

OPERATION_NAMES = ("MainSession", "Fleet", "CreateSession", "FleetChanges", "SessionEvents")


class Document(HTMLParser):
    """The addresses a document loads and the text of its inline scripts, by their id ("" without one)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.title = ""
        self.inline_scripts: dict[str, str] = {}
        self._open: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for name in ("src", "href") if (value := values.get(name))]
        self._open = None if "src" in values else (tag, values.get("id") or "")

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[0] == "script":
            self.inline_scripts[self._open[1]] = data
        elif self._open and self._open[0] == "title":
            self.title = data


def page(default_query: str = MAIN_SESSION_EXAMPLE) -> Document:
    return Document(graphiql_page(graphql_path="/graphql", default_query=default_query))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=graphiql_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def test_the_page_names_the_product() -> None:
    assert page().title == "Session manager · GraphiQL"


@pytest.mark.anyio
async def test_every_address_of_the_page_is_served_by_us_and_may_be_kept_for_ever(client: httpx.AsyncClient) -> None:
    addresses = [address for address in page().addresses if not address.startswith("data:")]
    assert len(addresses) == 6
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        media_type = "text/css" if ".css" in address else "text/javascript"
        assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"


@pytest.mark.anyio
async def test_an_asset_without_its_fingerprint_is_revalidated_and_unchanged_ones_cost_no_body(
    client: httpx.AsyncClient,
) -> None:
    address = "/graphql/assets/graphiql.min.js"
    first = await client.get(address)
    assert first.headers["cache-control"] == "no-cache"
    assert (await client.get(address, params={"v": "0" * 16})).headers["cache-control"] == "no-cache"
    again = await client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "..%2f__init__.py",
        "..%2F..%2F__init__.py",
        "%2e%2e/%2e%2e/__init__.py",
        "..%5c__init__.py",
        "%2fetc%2fpasswd",
        "graphiql.min.js%00.css",
        "",
        "absent.js",
    ],
)
@pytest.mark.anyio
async def test_nothing_beside_the_assets_can_be_read(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/graphql/assets/{path}")
    assert answer.status_code == 404


@pytest.mark.anyio
async def test_assets_are_read_only(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql/assets/graphiql.min.js")
    assert answer.status_code == 405


def test_the_first_tab_is_the_default_query_and_the_settings_cannot_end_their_script() -> None:
    hostile = "{ a } # </script><script>alert(1)</script> {{asset:graphiql.min.js}}"
    document = page(default_query=hostile)
    settings = json.loads(document.inline_scripts["settings"])
    assert settings == {"graphqlPath": "/graphql", "tabs": [hostile, *FURTHER_EXAMPLES]}
    assert set(document.inline_scripts) == {"", "settings"}


def test_the_path_cannot_leave_its_attribute() -> None:
    document = Document(graphiql_page(graphql_path='/a"><b>'))
    assert document.addresses[1].startswith('/a"><b>/assets/')


def test_the_policy_names_no_other_origin_and_admits_exactly_the_inline_script_of_the_page() -> None:
    directives = dict(part.split(" ", 1) for part in graphiql_csp.split("; "))
    script = page().inline_scripts[""]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == f"'self' 'sha256-{digest}'"
    assert directives["connect-src"] == "'self'"
    assert not re.search(r"https?:|wss?:|\*|unsafe-eval", graphiql_csp)


@pytest.mark.parametrize(
    ("operation_name", "example"),
    list(zip(OPERATION_NAMES, (MAIN_SESSION_EXAMPLE, *FURTHER_EXAMPLES), strict=True)),
    ids=OPERATION_NAMES,
)
def test_every_example_is_valid_against_the_schema_and_titles_its_tab(operation_name: str, example: str) -> None:
    document = parse(example)
    assert validate(build_schema(print_sdl(), assume_valid_sdl=True), document) == []
    operation = get_operation_ast(document)
    assert operation is not None
    assert operation.name is not None
    assert operation.name.value == operation_name
