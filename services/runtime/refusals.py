"""What the runtime's ports can be asked and refuse, whatever the service: code, sentence and status."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

from schemas.roles import ROLES
from services.runtime.errors import Refused, define_refusal

SINGLE_HEADERS: Final = (
    "Authorization",
    "Concert-Purpose",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
)

_define: Final[Callable[[str, str, int], type[Refused]]] = partial(define_refusal, __name__)

HttpMalformed: Final = _define(
    "http_malformed", "send HTTP/1.1 as in RFC 9112: one Host, one body length, no control characters", 400
)
HeadersTooLarge: Final = _define("headers_too_large", "send at most 32 KiB of request line and headers", 431)
TransferCodingUnknown: Final = _define(
    "transfer_coding_unknown", "send the body with Content-Length, or chunked, and not compressed", 501
)
TooManyConnections: Final = _define(
    "too_many_connections", "this port has all the connections it takes; close idle ones and try again", 503
)
RequestTimeout: Final = _define("request_timeout", "send header and body of a request without pausing", 408)
PathMalformed: Final = _define(
    "path_malformed", "send a path of ASCII from its first slash, without encoded slashes or controls", 400
)
HeaderRepeated: Final = _define(
    "header_repeated", f"send each of these headers once at most: {', '.join(SINGLE_HEADERS)}", 400
)
MediaTypeUnsupported: Final = _define(
    "media_type_unsupported", "send Content-Type: application/json, and no Content-Encoding", 415
)
NoSuchRoute: Final = _define(
    "no_such_route", "this port has no such route; see the service's OpenAPI document", 404
)
MethodNotAllowed: Final = _define(
    "method_not_allowed", "use a method that this resource has; the header Allow names them", 405
)
OperatorOnly: Final = _define("operator_only", "only the operator's certificate may do this", 403)
OperationsOnly: Final = _define(
    "operations_only", "only the service `operations` may ask this; operators act through it", 403
)
NamedServiceOnly: Final = _define(
    "named_service_only", "only the service that is named, or the operator, may ask this", 403
)
StillRestoring: Final = _define(
    "still_restoring",
    "the service's database was put back; it serves once its neighbours agree; try again",
    503,
)
SendsAlready: Final = _define(
    "sends_already", "as much as may be sent again at once is on its way already; ask again in a second", 429
)
NotAwaited: Final = _define(
    "not_awaited", "this service was not put back, or asks no such neighbour; see `concert status`", 404
)
NothingStands: Final = _define(
    "nothing_stands", "no alarm stands over this partition; see `concert readers list`", 404
)
NotWritten: Final = _define(
    "not_written", "this service does not write that topic; see `concert refill SERVICE`", 404
)
NothingKept: Final = _define(
    "nothing_kept", "nothing that is meant was sent and is kept; name another topic or an earlier time", 404
)
NothingWaits: Final = _define(
    "nothing_waits", "no letter that is meant waits; see `concert dead-letters list`", 404
)
NoSuchLetter: Final = _define(
    "no_such_letter",
    "there is no such letter; `concert dead-letters list` names one of each kind",
    404,
)
OtherCount: Final = _define(
    "other_count", "more or fewer wait by now, and nothing was changed; see `concert dead-letters list`", 409
)
SecondPersonNeeded: Final = _define(
    "second_person_needed", "one person may not do this alone; let another approve the plan", 403
)
ReaderElsewhere: Final = _define(
    "reader_elsewhere",
    "another process of the service is a live member of its group; `concert scale SERVICE=1`, then again",
    409,
)
OffsetMoved: Final = _define(
    "offset_moved", "the reader has gone on since the plan; nothing was changed; make another plan", 409
)
NoSuchOffset: Final = _define(
    "no_such_offset", "the brokers hold no such offset of this partition; see `concert lag`", 404
)
BeyondInbox: Final = _define(
    "beyond_inbox",
    "the inbox no longer knows events from so far back, and they would take effect twice; go back less far",
    409,
)
UnknownRole: Final = _define(
    "unknown_role", f"There is no such role; a token's must be one of {', '.join(sorted(ROLES))}.", 403
)
RoleForbids: Final = _define(
    "role_forbids", "The token's role may not do this; ask somebody whose role may, as a caseworker's.", 403
)
AgencyNotAdmitted: Final = _define(
    "agency_not_admitted", "Your agency is not admitted (yet); ask governance, or try again shortly.", 403
)
WrongSector: Final = _define(
    "wrong_sector", "Your agency belongs to another sector; use your own sector's service.", 403
)
Malformed: Final = _define(
    "malformed", "send one JSON value in UTF-8, without duplicate names, at most 32 levels deep", 400
)
TooLarge: Final = _define("too_large", "send at most 256 KiB", 413)
TableTooLarge: Final = _define("table_too_large", "send at most 4 MiB and 10,000 rows; divide the table", 413)
NotCsv: Final = _define("not_csv", "send Content-Type: text/csv, in UTF-8, and no Content-Encoding", 415)
AgencyInactive: Final = _define(
    "agency_inactive",
    "Your agency is suspended; it can still withdraw, cancel and confirm a seal. Ask governance.",
    403,
)


class PartUnavailable(Refused):
    """A database or another service is away, or this process stops."""

    code = "unavailable"
    sentence = "a part that this needs does not answer; try again"
    status = 503


class InvalidRequest(Refused):
    """Something sent that its declaration does not allow; `errors` are the places, and never a value."""

    code = "invalid"
    sentence = "correct the places named in errors"
    status = 422

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__()
        self.errors = errors


class QueryInvalid(InvalidRequest):
    """Query parameters that the route does not have, one of them twice, or a number in another form."""

    code = "query_invalid"
    sentence = "send only query parameters that the route has, each once at most, and numbers as digits alone"


class ServiceFault(Refused):
    """A bug of ours."""

    code = "unexpected"
    sentence = "this is our fault; try again later, and tell the operator the instance"
    status = 500
    headers: ClassVar = {"connection": "close"}
    """Starlette raises the error on after the answer, and uvicorn then cuts the connection."""


EVERY_OPERATION: Final = (
    HttpMalformed, HeadersTooLarge, TransferCodingUnknown, TooManyConnections, RequestTimeout,
    PathMalformed, HeaderRepeated, QueryInvalid, InvalidRequest, PartUnavailable, StillRestoring,
    ServiceFault,
)  # fmt: skip
"""What any request can be answered: before the application sees it, and then."""
EVERY_BODY: Final = (Malformed, TooLarge, MediaTypeUnsupported)
NO_ROUTE: Final = (NoSuchRoute, MethodNotAllowed)
"""What no operation can answer, because there is none; told at the top of the document."""
NO_ENTRY: Final = (UnknownRole, RoleForbids, AgencyNotAdmitted, WrongSector, AgencyInactive)
"""What an agencies' port can answer before it looks at what is asked."""
