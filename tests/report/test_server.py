"""The server of the live report: it answers this machine's browser only, whatever it serves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest

from nn.io.files import acquire_lock
from nn.report.server import SECURITY_HEADERS, SWEEP_PAGE_POLICY
from tests.conftest import REPORT_SCRIPT, WorkingDirectory
from tests.report.factories import make_run, make_sweep
from tests.report.live_server import start_server

PATHS = ("/", "/page/one", "/page/sweeps/s", "/data/one", "/compare?run=one&run=two", "/nowhere")


def has_content(changes):
    return "content" in changes


def check_is_refused(server, **headers):
    """Check that a request with these headers is refused, also with the token in its URL."""
    for path in ("/data/one", f"/?token={server.token}"):
        reply = server.get(path, **headers)
        assert reply.status == 403
        assert reply.text == "Only requests to and from localhost are answered."


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve a run, a sweep and symbolic links to the outside."""
    workdir = WorkingDirectory(tmp_path_factory.mktemp("live") / "work")
    run = make_run(workdir.path / "runs/one")
    sweep_dir = make_sweep(workdir.path / "runs/sweeps/s", 3)
    for name in ("config.yaml", "environment.json"):
        shutil.copy(run / name, sweep_dir / "trials/0000")
    shutil.copytree(run, workdir.path / "outside/run")
    shutil.copytree(run, workdir.path / "runs/two")
    (workdir.path / "runs/link").symlink_to("../outside/run")
    (workdir.path / "runs/links").symlink_to("../outside")
    with start_server(workdir) as running_server:
        yield running_server


def test_url_with_the_token_redirects_and_sets_a_cookie(server):
    reply = server.get(f"/page/one?token={server.token}&a=1", Cookie="")
    assert reply.status == 303
    assert reply.headers["Location"] == f"http://127.0.0.1:{server.port}/page/one?a=1"
    cookie, *attributes = reply.headers["Set-Cookie"].split("; ")
    assert cookie == server.cookie
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=lax"}
    assert server.get("/page/one?a=1").status == 200


@pytest.mark.parametrize("path", PATHS)
def test_request_without_the_token_is_refused(server, path):
    name, other_name = f"nn-report-{server.port}", f"nn-report-{server.port + 1}"
    for cookie in ("", f"{name}=", f"{name}=wrong", f"{other_name}={server.token}", server.token):
        reply = server.get(path, Cookie=cookie)
        assert reply.status == 403
        assert reply.text.startswith("The token is missing or wrong; ")
    separator = "&" if "?" in path else "?"
    for token in ("", "wrong", f"{server.token}x", "%ff"):
        assert server.get(f"{path}{separator}token={token}", Cookie="").status == 403


@pytest.mark.parametrize(
    "host",
    [
        "", "example.com", "localhost.example.com", "127.0.0.1.example.com:80", "0.0.0.0",
        "192.168.0.1:8000", "localhost:80@example.com", "[::2]", "::1", "localhost:", "127.1",
        "example.com/localhost", "localhost:123456",
    ],
)  # fmt: skip
def test_request_for_another_host_is_refused(server, host):
    check_is_refused(server, Host=host)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]"])
def test_cookie_is_named_for_the_port_at_the_end_of_a_tunnel(server, host):
    for address, port in ((host, 80), (f"{host}:9000", 9000)):
        redirect = server.get(f"/?token={server.token}", Host=address, Cookie="")
        assert redirect.headers["Location"].lower() == f"http://{address.lower()}/"
        cookie = redirect.headers["Set-Cookie"].split(";")[0]
        assert cookie == f"nn-report-{port}={server.token}"
        assert server.get("/nowhere", Host=address, Cookie=cookie).status == 404


@pytest.mark.parametrize(
    "origin",
    [
        "null", "http://example.com", "http://localhost.example.com", "file://", "localhost",
        "http://127.0.0.1:80@example.com", "http://example.com/http://localhost",
    ],
)  # fmt: skip
def test_request_from_another_origin_is_refused(server, origin):
    check_is_refused(server, Origin=origin)


def test_request_from_a_local_origin_is_answered(server):
    for origin in (f"http://127.0.0.1:{server.port}", "http://localhost:9000", "http://[::1]"):
        assert server.get("/page/one", Origin=origin).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "..", "../outside/run", "%2e%2e/outside/run", "one/../../outside/run", "link", "links/run",
        "one%2f..%2f..%2foutside%2frun", "/etc", "%2Fetc", "//etc", "one/config.yaml", "one%00",
        "nowhere",
    ],
)  # fmt: skip
def test_path_outside_the_directory_is_not_found(server, path):
    assert (server.runs / "link/config.yaml").exists()
    page, data = server.get(f"/page/{path}"), server.get(f"/data/{path}")
    assert (page.status, data.status) == (404, 200)
    assert "no such run, sweep or directory." in page.text
    assert json.loads(data.text)["problem"].endswith("no such run, sweep or directory.")


def test_only_the_files_of_pages_are_static(server):
    for name in ("page.py", "../page.py", "..%2fpage.py", "%2fetc%2fpasswd", "README.md", ""):
        assert server.get(f"/static/{name}").status == 404


def test_every_response_has_the_security_headers(server):
    static = re.search(r"/static/\w+/", server.get("/").text)[0]
    requests = {
        200: [{"path": path} for path in (*PATHS[:-1], "/data/", "/data/x", f"{static}page.css")],
        303: [{"path": f"/?token={server.token}"}],
        400: [{"path": "/compare?run=one&run=sweeps"}],
        403: [{"path": "/", "Cookie": ""}, {"path": "/", "Host": "example.com"}],
        404: [{"path": path} for path in ("/nowhere", "/page/x", f"{static}x")],
        405: [{"path": path, "method": "POST"} for path in PATHS[:-1]],
    }
    for status, settings in requests.items():
        for setting in settings:
            reply = server.get(**setting)
            assert reply.status in ({200, 204} if status == 200 else {status})
            expected = dict(SECURITY_HEADERS)
            if setting == {"path": "/page/sweeps/s"}:
                expected["Content-Security-Policy"] = SWEEP_PAGE_POLICY
            if setting["path"].startswith(static) and status == 200:
                expected["Cache-Control"] = "private, max-age=86400, immutable"
            assert {name: reply.headers[name] for name in SECURITY_HEADERS} == expected
            assert "Access-Control-Allow-Origin" not in reply.headers


def test_only_pages_of_sweeps_may_compile_code():
    assert "unsafe-eval" not in SECURITY_HEADERS["Content-Security-Policy"]
    assert "script-src 'unsafe-eval' 'self';" in SWEEP_PAGE_POLICY


def test_pages_of_runs_sweeps_and_trials_are_linked(server):
    for name in ("one", "sweeps/s"):
        assert '<a href="/">← runs</a>' in server.poll_until(f"{name}", has_content)["content"]
    rows = server.poll_until("", has_content)["tables"]["index"]["rows"]
    assert {row[0][0][1] for row in rows.values()} == {"/page/one", "/page/two", "/page/sweeps/s"}
    trials = server.poll("sweeps/s")["tables"]["trials"]["rows"]
    assert "/page/sweeps/s/trials/0000" in json.dumps(trials["0"])
    assert "/page/" not in json.dumps(trials["1"])
    trial = server.poll_until("sweeps/s/trials/0000", has_content)["content"]
    assert '<a href="/page/sweeps/s">← s</a>' in trial
    assert list(server.poll_until("sweeps", has_content)["tables"]["index"]["rows"]) == ["s"]


def test_pages_have_no_inline_scripts_and_link_to_files_of_their_type(server):
    linked = set()
    for path in PATHS[:3]:
        html = server.get(path).text
        scripts = re.findall(r"<script([^>]*)>", html)
        data = [script for script in scripts if 'type="application/json"' in script]
        assert all(script.startswith(' src="/static/') for script in scripts if script not in data)
        linked.update(re.findall(r'(?:src|href)="(/static/[^"]*)"', html))
    assert {"plotly.js", "live.js"} < {path.rpartition("/")[2] for path in linked}
    for path in linked:
        reply = server.get(path)
        css_or_js = "text/css" if path.endswith(".css") else "text/javascript"
        assert (reply.status, reply.headers["Content-Type"]) == (200, f"{css_or_js}; charset=utf-8")


@pytest.mark.parametrize("path", ["", "busy", "compare?run=one&run=busy"])
def test_browser_polls_more_often_while_something_is_running(server, path):
    run = server.copy_run("busy")
    (run / "summary.json").unlink()
    lock = acquire_lock(run / ".lock")
    busy = server.poll_until(path, lambda changes: changes.get("interval") == 1)
    os.close(lock)
    server.poll_until(path, lambda changes: changes.get("interval") == 3, busy["cursor"])
    shutil.rmtree(run)


def test_poll_returns_only_what_has_changed(server):
    history = server.copy_run("growing") / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    (history.parent / "summary.json").unlink()
    history.write_bytes(lines[0])
    first = server.poll_until("growing", has_content)
    assert {"title", "content", "charts", "tables", "problem"} < first.keys()
    assert server.poll("growing", first["cursor"]) == {}
    history.write_bytes(b"".join(lines[:2]))
    second = server.poll_until("growing", lambda changes: True, first["cursor"])
    assert "loss" in second["charts"]
    assert not {"title", "problem"} & second.keys()
    for cursor in ("", "x", "-", "1-1", f"{first['cursor']}x", f"{first['cursor']}-1", "%D9%A1"):
        assert server.poll("growing", cursor).keys() == first.keys()
    index = server.poll_until("", has_content)
    history.write_bytes(b"".join(lines))
    os.utime(history.parent)  # as files that are renamed there do
    changes = server.poll_until("", lambda changes: "tables" in changes, index["cursor"])
    assert list(changes["tables"]["index"]["rows"]) == ["growing"]
    shutil.rmtree(history.parent)
    changes = server.poll_until("", lambda changes: "tables" in changes, changes["cursor"])
    assert "growing" not in changes["tables"]["index"]["ids"]
    reply = server.get("/data/growing")
    assert reply.status == 200  # any other would be an error in the browser's console
    assert json.loads(reply.text) == {"problem": "growing: no such run, sweep or directory."}


@pytest.mark.parametrize(
    "content",
    [
        b'{"val/loss": NaN, "lr": 1e999}', b'{"a": "\\ud800</script>"}', b"[1]", b"\xff\x00",
        b"[" * 10**5, b'{"epoch": "x", "train/loss": [1], "__proto__": 1, "constructor": 2}',
    ],
)  # fmt: skip
def test_hostile_history_is_data(server, content):
    shutil.copytree(server.runs / "one", server.runs / "hostile", dirs_exist_ok=True)
    (server.runs / "hostile/history.jsonl").write_bytes(content + b"\n")
    assert server.poll_until("hostile", has_content)["problem"] is None
    assert server.get("/page/hostile").status == 200


def test_damaged_run_gives_a_notice_and_the_server_stays_up(server):
    run = server.copy_run("damaged")
    (run / "history.jsonl").unlink()
    os.mkfifo(run / "history.jsonl")
    message = "damaged/history.jsonl is not a regular file."
    changes = server.poll_until("damaged", lambda changes: changes.get("problem"))
    assert changes["problem"] == message
    assert message in changes["content"]
    assert server.get("/page/damaged").status == 500
    (run / "history.jsonl").unlink()
    recovered = server.poll_until("damaged", lambda c: "charts" in c, changes["cursor"])
    assert recovered["problem"] is None
    assert server.get("/page/damaged").status == 200
    (run / "config.yaml").write_text("lr: [")
    is_damaged = lambda changes: changes.get("problem")  # noqa: E731
    changes = server.poll_until("damaged", is_damaged, recovered["cursor"])
    assert "damaged/config.yaml is damaged" in changes["problem"]
    assert "content" not in changes  # what was shown before stays
    assert "damaged/config.yaml is damaged" in server.poll_until("", has_content)["content"]
    assert server.get(f"/page/{'a' * 300}").status in (404, 500)  # by the version of Python
    assert server.process.poll() is None


def test_names_stay_text(server):
    name = "<img src=x onerror=alert(1)>\"'&%?#"
    server.copy_run(name)
    server.copy_run(os.fsdecode(b"\xff"))
    for path in ("/", f"/page/{quote(name)}", f"/page/{quote(name)}/nowhere"):
        assert "<img src=x" not in server.get(path).text
    changes = server.poll_until("", lambda c: name in c["tables"]["index"]["ids"])
    rows = changes["tables"]["index"]["rows"]
    assert {f"/page/{quote(name)}", "/page/%FF"} < {row[0][0][1] for row in rows.values()}
    assert server.get(f"/page/{quote(name)}").status == 200


def test_directory_may_be_empty_or_vanish(workdir):
    (workdir.path / "runs").mkdir()
    with start_server(workdir) as server:
        first = server.poll_until("", has_content)
        assert first["tables"]["index"]["ids"] == []
        server.runs.rename(workdir.path / "elsewhere")
        reply = server.get("/")
        assert reply.status == 404
        assert "runs: no such run, sweep or directory." in reply.text
        (workdir.path / "elsewhere").rename(server.runs)
        assert server.get("/").status == 200
        make_sweep(server.runs / "new", 2)
        changes = server.poll_until("", lambda changes: "tables" in changes, first["cursor"])
        assert changes["tables"]["index"]["ids"] == ["new"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("run=one&run=nowhere", "nowhere: no such run, sweep or directory."),
        ("run=one&run=../outside/run", "../outside/run: no such run, sweep or directory."),
        ("run=one&run=sweeps/s", "Only runs can be compared; choose runs."),
        ("&".join(21 * ["run=one"]), "At most 20 runs can be compared."),
        (f"run=one&run={'x' * 5000}", f"{'x' * 5000}: no such run, sweep or directory."),
        ("run=one&run=one", "The same run is given twice; pass different runs to compare."),
    ],
)
def test_only_runs_below_the_directory_can_be_compared(server, query, message):
    reply = server.get(f"/data/compare?{query}")
    assert json.loads(reply.text)["problem"] == message
    assert server.get(f"/compare?{query}").status in (400, 404)


def test_compared_runs_are_shown(server):
    changes = server.poll_until("compare?run=one&run=two", has_content)
    assert '<a href="/">← runs</a>' in changes["content"]
    assert "/page/two" in json.dumps(changes["tables"])


def test_twenty_tabs_are_served_at_once(server):
    def poll_repeatedly(_):
        with server.connect() as connection:
            paths = ["/page/sweeps", *10 * ["/data/one"]]
            return {server.send(connection, path).status for path in paths}

    server.poll_until("one", has_content)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(poll_repeatedly, range(20))) == 20 * [{200}]


def test_server_listens_on_loopback_only(server):
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection(("127.0.0.2", server.port), timeout=10)


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_signal_stops_the_server_with_open_connections(workdir, signum, status):
    (workdir.path / "runs").mkdir()
    with start_server(workdir) as server, ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(server.connect())
            assert server.send(connection, "/").status == 200
        unfinished = socket.create_connection(("127.0.0.1", server.port))
        stack.enter_context(unfinished).sendall(b"GET / HTTP/1.1\r\n")
        server.process.send_signal(signum)
        assert server.process.wait(60) == status
        assert server.process.stdout.read() == server.process.stderr.read() == ""


def test_port_can_be_chosen_unless_it_is_in_use(workdir):
    (workdir.path / "runs").mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        result = workdir.run(REPORT_SCRIPT, "runs", "--live", "--port", str(port))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"--port={port}: Address already in use; choose another port, or 0 for any free one.\n"
    )
    with start_server(workdir, "--port", str(port)) as chosen:
        assert chosen.port == port


def test_open_option_opens_a_private_page_that_leads_to_the_url(workdir):
    (workdir.path / "runs").mkdir()
    with start_server(workdir, "--open", BROWSER="echo opened %s") as server:
        opened = server.process.stdout.readline()
        assert server.token not in opened  # arguments are visible to other users
        file = Path(opened.removeprefix("opened file://").strip())
        assert f"url=http://127.0.0.1:{server.port}/?token={server.token}" in file.read_text()
        assert file.parent.stat().st_mode & 0o777 == 0o700
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 130
        assert not file.parent.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere", "--live"], "nowhere: no such directory."),
        (["runs", "--port", "8000"], "--port: requires --live."),
        (["runs", "runs", "--live"], "--live: requires a single directory."),
        (["runs", "--live", "--output", "a.html"], "--output: cannot be combined with --live."),
        (["runs", "--live", "--top-runs", "2"], "--top-runs: cannot be combined with --live."),
        (["runs", "--live", "--png-dir", "a"], "--png-dir: cannot be combined with --live."),
        (["runs", "--live", "--wandb", "a/b"], "--wandb: cannot be combined with --live."),
        (["runs", "--live", "--port", "65536"], "65536 must be a whole number, 0 to 65535"),
    ],
)
def test_options_that_do_not_fit_are_refused(workdir, args, message):
    (workdir.path / "runs").mkdir()
    result = workdir.run(REPORT_SCRIPT, *args)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].endswith(message)
