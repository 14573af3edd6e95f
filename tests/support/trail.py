"""A small trail that gives real, signed permits, and may spoil them."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any

import httpx2

from schemas.events.access import Access, Opening, PermitAnswer, PermitRequest, Receipt
from schemas.trail.bytes import canonical, commitment, leaf, request_digest, stamped, tag, trail_words
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.permits import PermitBody, Trust, signed_permit
from schemas.trail.tree import Tree, leaf_hash

ORIGIN = "audit.example/harbour/2026"


class TrailTwin:
    """The trail's permits over HTTP, with its real tree, notes and bytes; `spoil` may change each answer."""

    def __init__(self, audience: str) -> None:
        self.permit_key = Signer.from_seed(f"{ORIGIN}/permit", bytes(32))
        self.log_key = Signer.from_seed(ORIGIN, b"\x01" * 32)
        self.audience = audience
        self.asked: list[PermitRequest] = []
        self.keys: dict[str, bytes] = {}
        self.tree = Tree()
        self.unknown: set[str] = set()
        """Subjects that nobody has registered."""
        self.statuses: list[int] = []
        """Statuses to answer with before anything else."""
        self.spoil: Callable[[PermitAnswer], PermitAnswer] = lambda answer: answer
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What happens elsewhere while it is asked."""

    @property
    def trust(self) -> Trust:
        """What a service pins about it."""
        return Trust(ORIGIN, (self.permit_key.public,), self.log_key.public)

    def client(self) -> httpx2.AsyncClient:
        """A client that reaches it."""
        return httpx2.AsyncClient(
            base_url="https://trail.example", transport=httpx2.MockTransport(self._answer)
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        asked = PermitRequest.model_validate_json(request.content)
        self.asked.append(asked)
        status = self._status(asked)
        if status:
            return httpx2.Response(status, json=self._problem(status, asked))
        if self.meanwhile:
            await self.meanwhile()
        answer = self.spoil(self._permit(asked))
        return httpx2.Response(201, content=answer.model_dump_json())

    def _status(self, asked: PermitRequest) -> int | None:
        if any(item.subject in self.unknown for item in asked.items):
            return 409
        return self.statuses.pop(0) if self.statuses else None

    def _problem(self, status: int, asked: PermitRequest) -> dict[str, Any]:
        unknown = [at for at, item in enumerate(asked.items) if item.subject in self.unknown]
        errors = [{"pointer": f"/items/{at}/subject", "detail": "not_registered"} for at in unknown]
        return {"code": "subject_unknown" if status == 409 else "refused", "errors": errors}

    def _permit(self, asked: PermitRequest) -> PermitAnswer:
        leaves = [leaf(sha256(item.subject.encode()).digest()[:16], bytes(32)) for item in asked.items]
        opening, entry = self._entry(asked.access, leaves, lists=asked.access.act == "list")
        before = self.tree.size
        self.tree.extend([leaf_hash(one) for one in (*leaves, entry)])
        size, index = self.tree.size, self.tree.size - 1
        head = Checkpoint(ORIGIN, before, self.tree.root(before))
        body = PermitBody(
            origin=ORIGIN,
            audience=self.audience,
            request=request_digest(asked.plain(), self.audience),
            nonce=asked.nonce,
            leaf=leaf_hash(entry),
            index=index,
            count=1 + len(leaves),
            size=size,
            root=self.tree.root(),
            expires="2026-03-02T12:00:30.000Z",
        )
        receipt = Receipt(
            path=tuple(self.tree.inclusion_proof(index, size)),
            checkpoint=signed_note(checkpoint_text(head), self.log_key),
            consistency=tuple(self.tree.consistency_proof(before, size)),
        )
        return PermitAnswer(
            permit=signed_permit(body, self.permit_key), opening=opening, items=tuple(leaves), receipt=receipt
        )

    def _entry(self, access: Access, leaves: Sequence[bytes], *, lists: bool) -> tuple[Opening, bytes]:
        number = 1 if access.subject else None
        words = access.plain() | trail_words("intent", "before", service=self.audience, site=ORIGIN)
        detail = canonical(
            stamped(
                words, at="2026-03-02T12:00:00.000Z", number=number, item_leaves=leaves if lists else None
            )
        )
        key = self.keys.get(access.subject or "")
        mark = tag(key, 1) if key else bytes(16)
        opening = Opening(detail=detail, salt=bytes(32), tag=mark)
        return opening, leaf(mark, commitment(opening.salt, detail))
