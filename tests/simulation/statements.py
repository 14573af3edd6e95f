"""What the durable path's statements do, over tables in memory: each is found by its own text.

The decisions around them are the production's; a statement that nothing here stands for is an error.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.wire.receipts import receipt_key
from services.runtime import dead_letters, inbox, log_ends, offsets, outbox, partition_alarms, receipts, relay
from tests.support.clock import NOON

RECEIPTS: Final = receipt_key("").encode()
Found = list["Row"]
Statement = Callable[["Tables", datetime, Mapping[str, Any]], Found]


class Row(dict[str, Any]):
    """One row: its columns in order, each also as an attribute."""

    def __getattr__(self, column: str) -> Any:
        return self[column]

    def __iter__(self) -> Any:
        return iter(self.values())


class Tables:
    """One service's database: what is in it survives every kill."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {"outbox": 0, "send_order": 0}
        self.outbox: dict[int, Row] = {}
        self.sent: dict[int, Row] = {}
        self.sequence_out: dict[Any, tuple[int, int]] = {}
        self.inbox: dict[Any, bytes] = {}
        self.sequence_in: dict[Any, int] = {}
        self.offsets: dict[Any, Any] = {}
        self.letters: dict[Any, Row] = {}
        self.alarms: dict[Any, Row] = {}
        self.log_end: dict[Any, Any] = {}
        self.acked: dict[Any, int] = {}
        self.refilled: dict[str, int] = {}
        self.look: dict[str, tuple[int, int, datetime]] = {"it": (0, 0, NOON)}
        self.unconfirmed: dict[Any, Row] = {}
        self.own: dict[Any, Any] = {}
        """The handlers' own."""
        self.effects: dict[Any, int] = {}
        """How often each event took effect."""

    def copy(self) -> dict[str, dict[Any, Any]]:
        """What a transaction that is rolled back leaves."""
        return {name: dict(table) for name, table in vars(self).items()}

    def put_back(self, copied: dict[str, dict[Any, Any]]) -> None:
        """Roll back."""
        vars(self).update(copied)

    def next(self, sequence: str) -> int:
        """Its next number."""
        self.ids[sequence] += 1
        return self.ids[sequence]

    def send_again(self, is_meant: Callable[[Row], bool]) -> int:
        """Take rows that were sent back into the outbox, under their old ids."""
        back = [number for number, row in self.sent.items() if is_meant(row)]
        for number in back:
            self.outbox[number] = self.sent.pop(number)
        return len(back)


def _streams(p: Mapping[str, Any]) -> Iterable[Any]:
    return zip(p["topics"], p["sources"], p["keys"], strict=True)


def _last(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    return [
        Row(topic=one[0], source=one[1], key=one[2], last=t.sequence_in.get(one), epoch=None, since=None)
        for one in _streams(p)
    ]


def _seen(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    names = zip(p["source"], p["id"], strict=True)
    return [Row(source=one[0], id=one[1], digest=t.inbox[one]) for one in names if one in t.inbox]


def _take(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for one, last in zip(_streams(p), p["lasts"], strict=True):
        t.sequence_in[one] = max(last, t.sequence_in.get(one, 0))
    new = []
    for source, name, digest in zip(p["source"], p["id"], p["digest"], strict=True):
        if (source, name) not in t.inbox:
            t.inbox[source, name] = digest
            new.append(Row(source=source, id=name))
    return new


def _number(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    rows = []
    for topic, key, count in zip(p["topics"], p["keys"], p["counts"], strict=True):
        last, confirmed = t.sequence_out.get((topic, key), (0, 0))
        t.sequence_out[topic, key] = (last + count, confirmed)
        rows.append(Row(topic=topic, key=key, last=last + count, epoch=1))
    return rows


def _add(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for topic, key, sequence, value in zip(p["topics"], p["keys"], p["sequences"], p["values"], strict=True):
        number = t.next("outbox")
        t.outbox[number] = Row(id=number, topic=topic, key=key, value=value, sequence=sequence)
    return []


def _next(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    began, chosen = t.ids["send_order"], sorted(t.outbox)[: p["rows_max"]]
    names = ("id", "topic", "key", "value")
    return [Row({name: t.outbox[number][name] for name in names} | {"began": began}) for number in chosen]


def _move_out(t: Tables, now: datetime, p: Mapping[str, Any]) -> Found:
    if any(place > p["began"] for place in t.refilled.values()):
        return []
    for place in zip(p["topics"], p["parts"], p["nexts"], strict=True):
        t.acked[place[:2]] = max(place[2], t.acked.get(place[:2], 0))
    for number in p["ids"]:
        if number in t.outbox:
            t.sent[number] = Row(t.outbox.pop(number) | {"sent_at": now, "place": t.next("send_order")})
    return []


def _confirm(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for key, sequence in zip(p["keys"], p["sequences"], strict=True):
        last, confirmed = t.sequence_out.get((p["topic"], key), (0, 0))
        if confirmed < sequence <= last:
            t.sequence_out[p["topic"], key] = (last, sequence)
    return []


def _asked(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for one in [one for one in t.unconfirmed if one[0] == p["topic"]]:
        t.unconfirmed[one] = Row(t.unconfirmed[one] | {"resent": 0})
    return []


def _confirmed(t: Tables, _now: datetime, _p: Mapping[str, Any]) -> Found:
    for one in [one for one, row in t.unconfirmed.items() if t.sequence_out[one][1] >= row.sequence]:
        del t.unconfirmed[one]
    return []


def _find(t: Tables, now: datetime, p: Mapping[str, Any]) -> Found:
    looked, following, at = t.look["it"]
    if now - timedelta(seconds=p["seconds"]) <= at <= now:
        return []
    t.look["it"] = (following, t.next("send_order"), now)
    found: dict[Any, list[Row]] = {}
    for row in t.sent.values():
        one = (row.topic, row.key)
        is_meant = looked <= row.place < following and row.topic in p["topics"]
        if is_meant and not row.key.startswith(RECEIPTS) and row.sequence > t.sequence_out[one][1]:
            found.setdefault(one, []).append(row)
    for one, rows in found.items():
        first = Row(sequence=0, place=rows[0].place, since=min(now, *(row.sent_at for row in rows)), resent=0)
        old = t.unconfirmed.get(one, first)
        sequence = max(old.sequence, *(row.sequence for row in rows))
        place = min(old.place, *(row.place for row in rows))
        t.unconfirmed[one] = Row(old | {"sequence": sequence, "place": place})
    return []


def _not_yet(t: Tables, now: datetime, _p: Mapping[str, Any]) -> Found:
    t.unconfirmed = {one: Row(row | {"since": min(now, row.since)}) for one, row in t.unconfirmed.items()}
    return []


def _resend(t: Tables, now: datetime, p: Mapping[str, Any]) -> Found:
    late = {one: row for one, row in t.unconfirmed.items() if row.resent < p["resent"]}
    late = {one: row for one, row in late.items() if row.since < now - timedelta(seconds=p["seconds"])}
    if not late:
        return []
    place = min(row.place for row in late.values())
    t.unconfirmed |= {one: Row(row | {"resent": p["resent"]}) for one, row in late.items()}
    count = t.send_again(
        lambda row: (
            (row.topic, row.key) in late
            and row.place >= place
            and row.sequence > t.sequence_out[row.topic, row.key][1]
        )
    )
    return [Row(rows=count, streams=len(late))]


def _overdue(t: Tables, now: datetime, p: Mapping[str, Any]) -> Found:
    late = [
        (one, row) for one, row in t.unconfirmed.items() if row.since < now - timedelta(seconds=p["seconds"])
    ]
    return [Row(topic=one[0], streams=1, since=row.since) for one, row in late]


def _stored(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    wanted = [one for one in zip(p["topics"], p["parts"], strict=True) if one in t.offsets]
    names = ("topic", "part", "topic_id", "next", "mark")
    return [Row(zip(names, (*one, *t.offsets[one]), strict=True)) for one in wanted]


def _place(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for topic, part, topic_id, following in zip(p["topics"], p["parts"], p["ids"], p["nexts"], strict=True):
        t.offsets[topic, part] = (topic_id, following, None)
    return []


def _move(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    moved = []
    for topic, part, topic_id, expected, following, mark in zip(
        p["topics"], p["parts"], p["ids"], p["expected"], p["nexts"], p["marks"], strict=True
    ):
        if t.offsets.get((topic, part), ())[:2] == (topic_id, expected):
            t.offsets[topic, part] = (topic_id, following, mark)
            moved.append(Row(topic=topic, part=part))
    return moved


def _keep(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    place = (p["topic"], p["topic_id"], p["part"], p["offset"])
    t.letters.setdefault(place, Row({**p, "state": "waiting"}))
    return []


def _ready(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    titles, ready = dict(zip(p["names"], p["titles"], strict=True)), []
    for row in t.letters.values():
        if row.state != "waiting" or row.reason not in ("sequence_gap", "handler"):
            continue
        last = t.sequence_in.get((titles[row.topic], row.source, row.key), 0)
        if row.sequence <= last + (row.reason != "handler"):
            ready.append(row)
    ready.sort(key=lambda row: (row.topic, row.key, row.sequence))
    names = ("id", "topic", "part", "offset", "key", "headers", "value")
    return [Row({name: row[name] for name in names}) for row in ready[: p["rows_max"]]]


def _changed(**changes: Any) -> Statement:
    def change(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
        names = p["ids"] if "ids" in p else [p["id"]]
        new = changes or {name: p[name] for name in ("reason", "path", "error_class")}
        for place in [place for place, row in t.letters.items() if row.id in names]:
            t.letters[place] = Row(t.letters[place] | new)
        return []

    return change


def _raise(t: Tables, now: datetime, p: Mapping[str, Any]) -> Found:
    row = Row(topic=p["topic"], part=p["part"], rule=p["rule"], reason=p["reason"], since=now)
    t.alarms.setdefault((p["topic"], p["part"], p["rule"]), row)
    return []


def _newest(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    rows = []
    for one in zip(p["topics"], p["parts"], strict=True):
        if places := [place for topic, part, place in t.log_end if (topic, part) == one]:
            topic_id, following = t.log_end[*one, max(places)]
            rows.append(Row(topic=one[0], part=one[1], topic_id=topic_id, next=following))
    return rows


def _still_good(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    places = [
        place
        for (topic, part, place), (topic_id, following) in t.log_end.items()
        if (topic, part, topic_id) == (p["topic"], p["part"], p["topic_id"]) and following <= p["next"]
    ]
    return [Row(place=max(places, default=0))]


def _mark(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    t.refilled |= {topic: t.next("send_order") for topic in p["topics"]}
    return []


def _forget(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    for one in zip(p["topics"], p["parts"], strict=True):
        t.acked.pop(one, None)
    return []


def _acked(t: Tables, _now: datetime, _p: Mapping[str, Any]) -> Found:
    return [Row(topic=topic, part=part, next=following) for (topic, part), following in t.acked.items()]


def _sample(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    t.log_end[p["topic"], p["part"], p["place"]] = (p["topic_id"], p["next"])
    return []


def _refill(t: Tables, _now: datetime, p: Mapping[str, Any]) -> Found:
    places = sorted(row.place for row in t.sent.values() if row.place > p["first"])
    before = min([*places[p["rows_max"] :][:1], p["before"]])
    count = t.send_again(lambda row: row.topic in p["topics"] and p["first"] <= row.place < before)
    return [Row(count=count, following=None if before == p["before"] else before)]


STATEMENTS: Final[Mapping[str, Statement]] = {
    inbox._LAST: _last,
    inbox._SEEN: _seen,
    inbox._NOT_NEEDED: lambda *_: [],  # no person passes any over
    inbox._TAKE: _take,
    outbox._NUMBER: _number,
    outbox._ADD: _add,
    relay.NEXT: _next,
    relay.MOVE: _move_out,
    receipts._CONFIRM: _confirm,
    receipts._ASKED: _asked,
    receipts._LEAD: lambda *_: [Row(leads=True)],
    receipts._CONFIRMED: _confirmed,
    receipts._NOT_YET: _not_yet,
    receipts._FIND: _find,
    receipts._RESEND: _resend,
    receipts._OVERDUE: _overdue,
    offsets._STORED: _stored,
    offsets._PLACE: _place,
    offsets._MOVE: _move,
    dead_letters._KEEP: _keep,
    dead_letters._CROWDED: lambda _t, _now, _p: [],  # more letters than a run has records
    dead_letters._READY: _ready,
    dead_letters._REDRIVEN: _changed(state="redriven"),
    dead_letters._FAILED: _changed(),
    partition_alarms._RAISE: _raise,
    partition_alarms._STANDING: lambda t, _now, _p: list(t.alarms.values()),
    log_ends._PLACE: lambda t, _now, _p: [Row(place=t.next("send_order"))],
    log_ends._MARK: _mark,
    log_ends._ALL_MOVED: lambda *_: [],  # no relay is amid a move while another part acts
    log_ends._ACKED: _acked,
    log_ends._NEWEST: _newest,
    log_ends._STILL_GOOD: _still_good,
    log_ends._FORGET: _forget,
    log_ends._SAMPLE: _sample,
    log_ends._REFILL: _refill,
}
