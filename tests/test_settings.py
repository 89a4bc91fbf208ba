"""Settings: what is read, what is refused, and that the page on authentication knows them all."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from subgraph.domain.loads import LoadMetric
from subgraph.settings import BadSetting, Settings, unknown_settings
from subgraph.settings.texts import PREFIX
from subgraph.settings.tokens import algorithms_of

PAGE = (Path(__file__).parent.parent / "docs" / "authentication.md").read_text()
SECRET = "s" * 32
JWKS = "https://issuer.example/jwks.json"
TITLES = "https://titles.example/v1/title"
OF_CALLERS = {
    one.name
    for one in fields(Settings)
    if one.name.startswith(("jwt_", "gateway_")) or one.name in ("access_token", "scope_directives")
}


def read(**given: str) -> Settings:
    return Settings.from_environment({PREFIX + name.upper(): text for name, text in given.items()})


def test_the_page_on_authentication_names_every_setting_of_callers_and_no_other() -> None:
    rows = [
        line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `") and ":" not in line.split("|")[1]
    ]
    named = {name.lower() for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert named == OF_CALLERS


def test_lists_are_read_separated_by_commas_and_told_to_workers_alike() -> None:
    settings = read(jwt_jwks_url=JWKS, jwt_algorithms="ES256, RS256", jwt_scope_claims="permissions,scope")
    assert settings.jwt_algorithms == ("ES256", "RS256")
    assert settings.jwt_scope_claims == ("permissions", "scope")
    assert Settings.from_environment(settings.to_environment()) == settings


def test_a_key_file_is_told_to_workers_too() -> None:
    settings = read(jwt_public_key_file="/keys/issuer.pem")
    assert settings.jwt_public_key_file == Path("/keys/issuer.pem")
    assert Settings.from_environment(settings.to_environment()) == settings


def test_secrets_do_not_show_where_settings_are_printed() -> None:
    given = {"access_token": "a-secret-token", "jwt_secret": SECRET, "gateway_secret": "another-secret"}
    shown = repr(read(**given, title_provider_url=TITLES, title_provider_token="a-providers-token"))
    assert TITLES in shown
    assert not any(secret in shown for secret in (*given.values(), "a-providers-token"))


@pytest.mark.parametrize(
    "given",
    [
        {"access_token": "a-secret-token"},
        {"jwt_secret": SECRET},
        {"jwt_jwks_url": JWKS},
        {"jwt_public_key_file": "key.pem"},
        {"allow_open_access": "true"},
    ],
)
def test_beyond_this_machine_it_listens_only_where_callers_say_who_they_are(given: dict[str, str]) -> None:
    assert read(host="0.0.0.0", **given).host == "0.0.0.0"
    for lacking in ({}, {"gateway_secret": "only-the-gateways"}):
        with pytest.raises(BadSetting, match=f"{PREFIX}HOST"):
            read(host="0.0.0.0", **lacking)


def test_where_callers_say_who_they_are_other_machines_may_ask_for_it() -> None:
    assert Settings().is_local_only
    assert not read(jwt_jwks_url=JWKS).is_local_only
    assert read(gateway_secret="only-the-gateways").is_local_only


def test_the_algorithms_go_with_the_kind_of_key() -> None:
    assert algorithms_of(read(jwt_secret=SECRET)) == ("HS256",)
    assert algorithms_of(read(jwt_secret="s" * 64, jwt_algorithms="HS512")) == ("HS512",)
    assert not any(one.startswith("HS") for one in algorithms_of(read(jwt_jwks_url=JWKS)))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"jwt_secret": SECRET, "jwt_jwks_url": JWKS}, "JWT_JWKS_URL"),
        ({"jwt_public_key_file": "a.pem", "jwt_jwks_url": JWKS}, "JWT_JWKS_URL"),
        ({"jwt_secret": "s" * 31}, "JWT_SECRET"),
        ({"jwt_secret": SECRET, "jwt_algorithms": "HS512"}, "JWT_SECRET"),
        ({"jwt_secret": SECRET, "jwt_algorithms": "RS256"}, "JWT_ALGORITHMS"),
        ({"jwt_jwks_url": JWKS, "jwt_algorithms": "HS256"}, "JWT_ALGORITHMS"),
        ({"jwt_jwks_url": JWKS, "jwt_algorithms": "RS256,none"}, "JWT_ALGORITHMS"),
        ({"jwt_jwks_url": "http://issuer.example/jwks.json"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "file:///etc/passwd"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "https://user:pass@issuer.example/"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "https://"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "https://[broken/"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "https://issuer.example:99999/"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": JWKS, "jwt_leeway_seconds": "301"}, "JWT_LEEWAY_SECONDS"),
        ({"jwt_jwks_url": JWKS, "jwt_leeway_seconds": "-1"}, "JWT_LEEWAY_SECONDS"),
        ({"jwt_jwks_url": JWKS, "jwt_tenant_claims": ","}, "JWT_TENANT_CLAIMS"),
        ({"jwt_jwks_url": JWKS, "jwt_tenant": "../other"}, "JWT_TENANT"),
        ({"jwt_issuer": "https://issuer.example"}, "JWT_ISSUER"),
        ({"jwt_audience": "session-manager"}, "JWT_AUDIENCE"),
        ({"gateway_secret": "short"}, "GATEWAY_SECRET"),
        ({"gateway_secret_header": "no header"}, "GATEWAY_SECRET_HEADER"),
        ({"scope_directives": "perhaps"}, "SCOPE_DIRECTIVES"),
    ],
)
def test_what_could_not_be_verified_or_what_anybody_could_make_is_refused(given: dict[str, str], named: str) -> None:
    with pytest.raises(BadSetting, match=f"^{PREFIX}{named}[ :]"):
        read(**given)


def test_keys_may_be_published_on_this_machine_without_https() -> None:
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
        assert read(jwt_jwks_url=f"http://{host}/jwks.json")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"title_provider_url": "titles.example"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_url": "http://titles.example/"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_url": "https://titles.example/a path"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_url": "https://titles.example:port/"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_url": "https://user:pass@titles.example/"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_url": f"{TITLES}?key=hush"}, "TITLE_PROVIDER_URL"),
        ({"title_provider_token": "a-providers-token"}, "TITLE_PROVIDER_TOKEN"),
        ({"title_provider_url": TITLES, "title_provider_token": "short"}, "TITLE_PROVIDER_TOKEN"),
        ({"title_provider_url": TITLES, "title_provider_token": "a token\r\nof lines"}, "TITLE_PROVIDER_TOKEN"),
        ({"title_provider_url": TITLES, "title_provider_seconds": "0"}, "TITLE_PROVIDER_SECONDS"),
        ({"title_provider_seconds": "nan"}, "TITLE_PROVIDER_SECONDS"),
    ],
)
def test_a_provider_of_titles_that_could_not_be_asked_safely_is_refused(given: dict[str, str], named: str) -> None:
    with pytest.raises(BadSetting, match=f"^{PREFIX}{named} ") as refused:
        read(**given)
    assert not any(secret in str(refused.value) for secret in ("user:pass", "hush", "lines"))


def test_the_objects_of_an_operation_have_a_limit_in_any_case() -> None:
    for few_or_many in ("0", "9999", "100000001", "many"):
        with pytest.raises(BadSetting, match=f"^{PREFIX}OPERATION_OBJECTS_MAX[ :]"):
            read(operation_objects_max=few_or_many)
    assert read(operation_objects_max="10000").operation_objects_max == 10_000


def test_a_process_has_room_for_a_socket_at_least() -> None:
    for few_or_many in ("0", "1000001", "many"):
        with pytest.raises(BadSetting, match=f"^{PREFIX}SOCKETS_MAX[ :]"):
            read(sockets_max=few_or_many)
    assert read(sockets_max="1").sockets_max == 1


def test_a_provider_of_titles_may_be_on_this_machine_and_is_told_to_workers() -> None:
    settings = read(title_provider_url="http://127.0.0.1:8080/title", title_provider_token="a-providers-token")
    assert settings.title_provider_seconds == 10
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"load_metric": "cpu"}, "LOAD_METRIC must be one of records, bytes, backlog, not 'cpu'"),
        ({"enabled": "nope"}, "ENABLED must be true or false, not 'nope'"),
        ({"workers": "x"}, "WORKERS must be a whole number, not 'x'"),
        ({"port": "many"}, "PORT must be a whole number, not 'many'"),
        ({"cycle_seconds": "often"}, "CYCLE_SECONDS must be a number, not 'often'"),
        ({"log_level": "loud"}, "LOG_LEVEL must be one of debug, info, warning, error, not 'loud'"),
        (
            {"pod_lease_seconds": "9"},
            f"POD_LEASE_SECONDS must be at least 0.5 and at most {PREFIX}POD_L",
        ),
        (
            {"jwt_issuer": "x"},
            f"JWT_ISSUER needs one of {PREFIX}JWT_SECRET, {PREFIX}JWT_PUBLIC_KEY_FILE, ",
        ),
        ({"title_provider_token": "12345678"}, f"TITLE_PROVIDER_TOKEN needs {PREFIX}TITLE_PROVIDER_URL"),
    ],
)
def test_what_is_refused_is_told_by_its_own_name_with_what_is_allowed(given: dict[str, str], says: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read(**given)
    assert str(refused.value).startswith(f"{PREFIX}{says}")


def test_levels_and_metrics_are_understood_in_capitals_too() -> None:
    assert read(log_level="INFO", load_metric="BYTES") == Settings(log_level="info", load_metric=LoadMetric.BYTES)


def test_what_is_no_setting_is_told_with_what_may_be_meant() -> None:
    variables = {f"{PREFIX}PORT": "1", f"{PREFIX}LOGLEVEL": "x", f"{PREFIX}TYPO_SETTING": "1", "PATH": "/bin"}
    assert unknown_settings(variables) == [
        f"{PREFIX}LOGLEVEL is no setting, and does nothing; is {PREFIX}LOG_LEVEL meant?",
        f"{PREFIX}TYPO_SETTING is no setting, and does nothing",
    ]
