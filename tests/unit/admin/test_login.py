import stat

import pytest

from services.admin.keys import load_keys

OPEN = {"static", "health.healthz", "login.show", "login.sign_in"}


def routes(app, method):
    """Every route that takes `method`, with its parameters filled in."""
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if method in rule.methods:
                arguments = {
                    name: 1 if "int" in type(rule._converters[name]).__name__.lower() else "x"
                    for name in rule.arguments
                }
                yield rule.endpoint, rule.build(arguments)[1]


def test_every_page_asks_for_the_token(app, visitor):
    closed = [(endpoint, path) for endpoint, path in routes(app, "GET") if endpoint not in OPEN]

    answers = {path: visitor.get(path) for _, path in closed}

    assert len(closed) >= 15
    for path, answer in answers.items():
        assert answer.status_code == 302, path
        assert answer.location.startswith("/login"), path


def test_every_form_asks_for_the_token(app, visitor):
    for endpoint, path in routes(app, "POST"):
        if endpoint not in OPEN:
            assert visitor.post(path).status_code == 401, path


def test_every_form_is_refused_without_its_csrf_token(app, client, services):
    before = sum(len(service.requests) for service in services.services)

    for _, path in routes(app, "POST"):
        assert client.post(path).status_code == 400, path

    assert sum(len(service.requests) for service in services.services) == before


def test_the_printed_link_signs_in_and_leaves_the_address(visitor):
    answer = visitor.get("/posts?corpus=letters&token=a-token")

    assert answer.location == "/posts?corpus=letters"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "a-token" not in cookie
    assert visitor.get("/runs").status_code == 200


def test_a_wrong_token_does_not_sign_in(visitor):
    answer = visitor.get("/?token=wrong", follow_redirects=True)

    assert "not the one this page was started with" in answer.text
    assert visitor.get("/").status_code == 302


def test_the_login_form_takes_the_token_or_the_whole_link(app, visitor):
    app.config["WTF_CSRF_ENABLED"] = False

    wrong = visitor.post("/login", data={"token": "wrong"})
    right = visitor.post("/login", data={"token": " http://127.0.0.1:8080/?token=a-token ", "next": "/runs?page=2"})

    assert wrong.location.startswith("/login")
    assert right.location == "/runs?page=2"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "x", "/\t/evil.example", "/\r/x"]
)
def test_signing_in_never_leads_to_another_site(app, visitor, elsewhere):
    app.config["WTF_CSRF_ENABLED"] = False

    answer = visitor.post("/login", data={"token": "a-token", "next": elsewhere})

    assert answer.location == "/"


def test_signing_out_forgets_the_browser(client, csrf):
    client.post("/logout", data={"csrf_token": csrf})

    assert client.get("/").location.startswith("/login")


def test_streams_answer_401_instead_of_a_login_page(visitor):
    assert visitor.get("/runs/run1/events", headers={"Accept": "text/event-stream"}).status_code == 401


def test_health_needs_no_login_and_says_ok(visitor):
    assert visitor.get("/healthz").json == {"status": "ok"}


def test_keys_survive_a_restart_and_are_readable_by_their_owner_alone(tmp_path):
    state = tmp_path / "state"

    first, second = load_keys(state), load_keys(state)

    assert first == second
    assert first.token != first.session
    assert len(first.token) >= 32
    for name in ("token", "session-key"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_keys_left_open_are_closed_and_empty_ones_made_anew(tmp_path):
    (tmp_path / "token").write_text("kept\n")
    (tmp_path / "token").chmod(0o644)
    (tmp_path / "session-key").write_text("")

    keys = load_keys(tmp_path)

    assert keys.token == "kept"
    assert keys.session
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_new_token_signs_everyone_out(app, client, services, tmp_path):
    from services.admin.app import create_app
    from services.admin.settings import AdminSettings

    cookie = client.get_cookie("nonesuch-session").value
    (tmp_path / "token").write_text("another")

    after = create_app(AdminSettings(state=tmp_path), services).test_client()
    after.set_cookie("nonesuch-session", cookie)

    assert after.get("/runs").location.startswith("/login")


def test_every_answer_forbids_foreign_scripts(client):
    for path in ("/", "/login", "/healthz", "/static/style.css"):
        headers = client.get(path).headers
        assert "default-src 'none'; script-src 'self';" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_plotly_comes_from_this_site_and_is_kept_by_browsers(client):
    page = client.get("/assets/plotly.min.js")

    assert page.mimetype == "text/javascript"
    assert len(page.data) > 1_000_000
    assert "immutable" in page.headers["Cache-Control"]
