"""Owns the GraphiQL page: its document, its assets, and its Content-Security-Policy.

Everything the page loads is installed with the package, so it works on a network without the internet, and no third
party learns of its use. GraphiQL 2.4.7, its explorer and React 17 come from a wheel that holds nothing but their
official builds: newer GraphiQLs need a bundler of our own (5) or megabytes of generated code in this repository (4).
"""

import base64
import hashlib
import html
import json
import os
import re
from functools import cache
from importlib import resources
from pathlib import Path

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from subgraph.api.graphiql_examples import FURTHER_EXAMPLES, MAIN_SESSION_EXAMPLE

ASSETS_PACKAGE = "graphene_django_graphiql_static"
ASSETS_FOLDER = "static/graphene_django_graphiql_static"

# Spelt out because `mimetypes` depends on the host's tables, and with `nosniff` a browser insists on the right type.
MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def graphiql_page(*, graphql_path: str, default_query: str = MAIN_SESSION_EXAMPLE) -> str:
    """The document a browser gets for GET `graphql_path`; its first tab holds `default_query`, the others examples.

    The assets are expected below `{graphql_path}/assets`, where `graphiql_routes` puts them by default.
    """
    settings = {"graphqlPath": graphql_path, "tabs": [default_query, *FURTHER_EXAMPLES]}

    def fill(placeholder: re.Match[str]) -> str:
        asset = placeholder["asset"]
        if asset is None:
            # JSON may hold "</script>"; an escaped "<" means the same to JSON and nothing to HTML.
            return json.dumps(settings).replace("<", "\\u003c")
        return f"{html.escape(graphql_path)}/assets/{asset}?v={_fingerprint(asset)}"

    return re.sub(r"{{(?:settings|asset:(?P<asset>[\w.-]+))}}", fill, _template())


def graphiql_routes(prefix: str = "/graphql/assets") -> list[BaseRoute]:
    """Where the page's assets are served; to be mounted before a route that would match everything below `/graphql`."""
    return [Mount(prefix, app=_Assets(packages=[(ASSETS_PACKAGE, ASSETS_FOLDER)]), name="graphiql-assets")]


class _Assets(StaticFiles):
    """The wheel's files, with cache headers: an address with the file's fingerprint never changes its content."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path)
        fingerprinted = scope.get("query_string", b"") == f"v={_fingerprint(path.name)}".encode()
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if fingerprinted else "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        if path.suffix in MEDIA_TYPES and response.status_code == status_code:
            response.headers["content-type"] = MEDIA_TYPES[path.suffix]
        return response


@cache
def _template() -> str:
    return resources.files("subgraph.api").joinpath("static/graphiql/page.html").read_text("utf-8")


@cache
def _fingerprint(asset: str) -> str:
    content = resources.files(ASSETS_PACKAGE).joinpath(ASSETS_FOLDER, asset).read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _inline_script_hash() -> str:
    """The hash by which the policy allows the page's own script; the page is constant, so it needs no nonce."""
    script = _template().partition("<script>")[2].partition("</script>")[0]
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# Scripts: the assets and the page's own, nothing inline or evaluated besides. Styles may be inline because GraphiQL's
# dialogs and editor write style elements while they run. 'self' in connect-src covers the WebSocket of this origin.
graphiql_csp = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' 'sha256-{_inline_script_hash()}'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy to send with the page: no origin but its own."""
