"""Answers that browsers get: the headers of every page, and nothing sent that the browser holds already."""

import hashlib
from typing import Final, NamedTuple, Self

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from services.runtime.errors import NotFound
from services.runtime.pages.rendering import BASE, SCRIPTS, STYLE_PATH

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page without script and without font of ours may load; a page with more names that besides."""
CONSOLE_POLICY: Final = f"{POLICY}; script-src 'self'; connect-src 'self'"
"""What a page of a console may load: also our scripts, and what these ask of this site; no code in a page."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""With every page, and with whatever it loads."""
CONSOLE_HEADERS: Final = HEADERS | {"content-security-policy": CONSOLE_POLICY}
SHOWN_SECONDS: Final = 60
"""How long a browser or a proxy may show what everybody may read without asking again."""
NEVER_CHANGES: Final = "public, max-age=31536000, immutable"
"""Of what has its release in its name."""
PIECE_BYTES: Final = 65_536


class ManyPieces(Response):
    """Bytes sent piece by piece, each once the one before was taken: a slow reader holds no copy of all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = bytes(self.body)
        for first in range(0, max(len(whole), 1), PIECE_BYTES):
            rest = first + PIECE_BYTES
            piece = {"body": whole[first:rest], "more_body": rest < len(whole)}
            await send({"type": "http.response.body", **piece})


class PageBytes(NamedTuple):
    """Something that everybody may read: its bytes, and the tag under which a browser keeps them."""

    body: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Self:
        """Bytes under the tag that follows from them."""
        return cls(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def answer(self, held: str | None, **more: str) -> Response:
        """These bytes, or that the browser holds them; `held` is what it says of the tags that it has."""
        kept = {"etag": self.tag, "cache-control": f"public, max-age={SHOWN_SECONDS}"}
        headers = HEADERS | kept | {name.replace("_", "-"): value for name, value in more.items()}
        if held and self.tag in held:
            return Response(status_code=304, headers=headers)
        return ManyPieces(self.body, headers=headers, media_type=self.media_type)


def style_routes() -> APIRouter:
    """The style sheet of all pages, which anybody may read."""
    router = APIRouter()
    style = PageBytes.of((BASE / "style.css").read_bytes(), "text/css")

    @router.get(STYLE_PATH, include_in_schema=False)
    async def read_style() -> Response:
        return style.answer(None)

    return router


def script_routes() -> APIRouter:
    """The scripts of all consoles, which anybody may read."""
    router = APIRouter()
    scripts = {
        path: PageBytes.of((BASE / name).read_bytes(), "text/javascript") for path, name in SCRIPTS.items()
    }

    @router.get("/pages/{name}.js", include_in_schema=False)
    async def read_script(request: Request) -> Response:
        path = request.url.path
        if path not in scripts:
            raise NotFound
        return scripts[path].answer(None, **({"cache_control": NEVER_CHANGES} if "-" in path else {}))

    return router
