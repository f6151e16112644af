"""The status pages: what arrived, what runs, what waits and why, what needs a person.

Triggered by nobody but readers: reads the ledger, the quarantine and the archive, and asks for
work by recording events. Server-rendered, complete without JavaScript (design/design.md).
"""

from __future__ import annotations

import getpass
import hashlib
import ipaddress
import logging
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import Forbidden, HTTPException

from acaflow import __version__
from acaflow.errors import AcaflowError, InputError, MissingDataError, TransientError
from acaflow.paths import Home
from services.web import api, dark, darkmap, darkpair, level0, telemetry, views, words

if TYPE_CHECKING:
    from acaflow.runtime.core import Runtime

__all__ = ["create_app"]

log = logging.getLogger(__name__)

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
A_YEAR_S = 31_536_000
ANYBODY = {"views.set_theme"}
"""Endpoints whose POST changes nothing but the asker's own cookie."""


def create_app(runtime: Runtime | None = None) -> Flask:
    """Make the application.

    Parameters
    ----------
    runtime : Runtime, optional
        Home, ledger and transport; default: those of the settings.

    Raises
    ------
    ConfigError
        The home or the ledger cannot be used.
    """
    if runtime is None:
        from acaflow.runtime.core import open_runtime

        runtime = open_runtime()
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=runtime.settings.secret_key or _secret_of(runtime.home),
        SESSION_COOKIE_NAME="acaflow",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=86400,
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    app.extensions["acaflow"] = {"runtime": runtime, "user": _user()}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    words.register(app)
    _serve_static_by_content(app)
    app.before_request(_number)
    app.before_request(_only_from_here)
    CSRFProtect(app)  # checks after those two: its refusals have a number too
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(AcaflowError, _explain)
    app.register_error_handler(Exception, _fail)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(level0.blueprint)
    app.register_blueprint(telemetry.blueprint)
    app.register_blueprint(dark.blueprint)
    app.register_blueprint(darkmap.blueprint)
    app.register_blueprint(darkpair.blueprint)
    return app


def _secret_of(home: Home) -> str:
    """Return the key that signs form tokens: made once per home, readable by its owner only."""
    path = home.state / "secret_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii")


def _user() -> str:
    """Return who is at this host; the name on what is asked for until logins come."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        return "local"


def _serve_static_by_content(app: Flask) -> None:
    folder = Path(app.static_folder or "")
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in folder.iterdir()
    }
    app.extensions["acaflow"]["digests"] = digests
    app.jinja_env.globals["static"] = lambda name: url_for("static", filename=name, v=digests[name])


# --- around each request ---


def _number() -> None:
    g.started = time.perf_counter()
    g.number = f"r-{secrets.token_hex(3)}"


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _only_from_here() -> None:
    """Refuse changes that do not come from this host.

    The name in the address bar must be this host's too, or a foreign page could reach us by
    pointing its own name here; what a proxy passes on comes from somewhere else.
    """
    if request.method in ("GET", "HEAD", "OPTIONS") or request.endpoint in ANYBODY:
        return
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    local = _is_loopback(request.remote_addr or "") and _is_loopback(host.strip("[]"))
    if not local or "X-Forwarded-For" in request.headers:
        raise Forbidden(
            f"Changes are accepted only from the machine that runs acaflow; this came from"
            f" {request.remote_addr} for {host}. Use the acaflow command there, or a tunnel:"
            " ssh -L 8765:localhost:8765 <machine>."
        )


def _finish(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)  # the interactive explorer has its own policy
    response.headers["X-Request-Id"] = g.number
    if request.endpoint == "static":
        name = (request.view_args or {}).get("filename", "")
        known = words.digests().get(name)
        if known and request.args.get("v") == known:
            response.headers["Cache-Control"] = f"public, max-age={A_YEAR_S}, immutable"
        else:
            response.headers["Cache-Control"] = "no-cache"
    elif response.cache_control.immutable:  # its address has the hash of its content
        pass
    elif request.endpoint in ("views.download", "dark.download", "dark.www"):
        response.headers["Cache-Control"] = "no-cache"
    elif request.endpoint == "telemetry.plotly_script":  # its address has its version
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR_S}, immutable"
    else:
        response.headers["Cache-Control"] = "no-store"
    return response


# --- what went wrong, in words ---

TITLES = {
    400: "This cannot be read as a request",
    403: "This is not allowed from here",
    404: "There is nothing at this address",
    405: "This address does not take that",
    413: "That is too much for one form",
    500: "The page could not be made",
    503: "The ledger does not answer",
}


def _error(status: int, what: str) -> tuple[Any, int]:
    if request.path.startswith("/api/"):
        return {"error": what, "request": g.number}, status
    title = TITLES.get(status, "This did not work")
    try:
        return render_template("error.html", title=title, what=what, status=status), status
    except Exception:  # a page that reports a broken ledger must not need it
        log.exception("request %s: the error page failed", g.number)
        return Response(f"{title}. {what} Request {g.number}.\n", mimetype="text/plain"), status


def _refuse(error: HTTPException) -> Any:
    if error.response is not None:
        return error.response
    what = error.description or ""
    if isinstance(error, CSRFError):
        what = "The form is too old or was not made here. Go back, load it again and send it."
    elif error.code == 404 and type(error).description == error.description:
        what = f"Nothing is at {request.path}."
    return _error(error.code or 500, what)


def _explain(error: AcaflowError) -> Any:
    if isinstance(error, MissingDataError):
        return _error(404, str(error))
    if isinstance(error, InputError):
        return _error(400, str(error))
    if isinstance(error, TransientError):
        log.warning("request %s: %s", g.number, error)
        return _error(
            503,
            "It may be locked for a moment: load the page again in a few seconds. If that does not"
            f" help, the log of the web process has the cause under {g.number}.",
        )
    return _fail(error)


def _fail(error: Exception) -> Any:
    log.error("request %s: %s failed", g.number, request.path, exc_info=error)
    what = f"The log of the web process has the cause under {g.number}, version {__version__}."
    return _error(500, what)
