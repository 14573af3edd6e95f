"""What a person must look at, while the service goes on: which rule fired, where, and since when."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

RULES: Final[Mapping[str, str]] = {
    "not_running": "Nothing runs in this data directory; start it with `concert up`.",
    "not_ready_yet": "It is about to start or to stop; ask again in a moment; if it stays so: "
    "`concert down`, then `concert up`.",
    "part_down": "The part does not run, or dies again and again; it is tried by itself; its log says why.",
    "no_answer": "It runs and gives no answer; if a signal stopped it, let it go on (kill -CONT). A part "
    "that stays so may be ended (kill -KILL), it is started again; with the fork server, every service. For "
    "the supervisor: `concert down`, then `concert up`. A broker or database of others is theirs to mend.",
    "draining": "The service finishes what it has in hand and ends.",
    "restoring": "The service's database was put back; it asks its neighbours what they hold, then serves; "
    "if it stays so, see whether they run, and its log.",
    "neighbour_awaited": "The service was put back, and this neighbour has not sent all again; see "
    "whether it runs and its events leave; if it never will: `concert serve SERVICE --without NEIGHBOUR`.",
    "database_older": "The service's database is older than it was; its neighbours sent what it lacks.",
    "writer_older": "A service's database was put back to an earlier one unnoticed; what it said under old "
    "numbers was set aside; see `concert dead-letters list`, then `concert restore DIR`.",
    "database": "The service's database does not answer; it takes no requests until it does.",
    "outbox_full": "More events wait than the disk guard allows; bring the brokers back, the rest follows.",
    "outbox_waits": "Events wait to be sent and none leave; nothing is lost; see whether the brokers answer.",
    "unconfirmed": "Events were sent, twice again too, and no reader says that it applied them; see the "
    "reader's alarms and `concert dead-letters list`, then `concert refill SERVICE`.",
    "dead_letters": "Records could not be used and were set aside; see `concert dead-letters list`.",
    "partition_stopped": "Too many records could not be used, one after the other or in all; see "
    "`concert readers list`, and before it goes on `concert dead-letters list`.",
    "reader_waits": "The reader has not seen brokers and database for a while; nothing is lost.",
    "reader_stuck": "The partition's log goes on and its reader stands. Where the broker's log says that "
    "it is corrupt: `concert down`, remove that partition's folder, `concert up`; it is sent again.",
    "records_unreadable": "Brokers hold what cannot be read; it was set aside; steps and inboxes come again, "
    "for others do `concert refill SERVICE` of their writer; see `concert readers list`.",
    "topic_made_anew": "The topic is another one, read from its beginning; see `concert readers list`.",
    "brokers_lost_records": "The log is shorter than what was read of it; see `concert readers list`.",
    "log_refilled": "Brokers had lost what was sent; it was sent again; see `concert readers list`.",
    "retention_overtook_reader": "Records went unread; steps and inboxes come again, for others do "
    "`concert refill SERVICE` of their writer; see `concert readers list`.",
    "plan_waits": "A plan of operators stands still, for its service does not answer; see whether that runs; "
    "`concert plans list`.",
    "sweep_fails": "Work that comes again at intervals fails each time; the service's log names the error.",
    "signer_halted": "The signer found another trail than the one it signed, and signs no more; its log says "
    "what it found, `concert trail recover` what can be done.",
    "desk_undeliverable": "The desk's address takes no mail, so nobody is told; let its agency correct it.",
    "mail_server_away": "The mail server takes no mail; the service's log names the error; mail waits a day.",
    "trail_closed": "The access trail is damaged and nothing may be shown; its log says where; restore the "
    "trail alone (`concert restore DIR`), then `concert trail recover`.",
    "trail_went_back": "The trail's log is shorter than it was, so nothing is shown: an older copy was put "
    "back; `concert trail recover` says what can be done.",
    "head_unsigned": "The signer has not signed what is due; soon nothing may be shown; see whether it runs.",
    "detail_damaged": "The stored detail of an entry is damaged; restore it from a backup; all else goes on.",
    "vault_closed": "The vault opens nothing, for the reason named; its own log says more; writing goes on.",
    "recommendation_stalled": "A recommendation is past due and unmoved; ask its owner, or assign it.",
    "committee_incomplete": "A committee lacks a seat of its rule and decides nothing; fill it.",
    "mandate_ends_soon": "A mandate ends within two weeks; let the committee above give the next one.",
    "protocol_ends_soon": "A protocol in force ends within two weeks; let a committee adopt the next.",
    "due_act_fails": "What is due of a record fails; the others go on; the service's log names the error.",
    "clock_leapt": "The machine's clock was set by more than 30 s; for 5 minutes deadlines keep the time "
    "as it was, then it is believed; set it right, or let it be.",
    "group_stalled": "A reader has stopped; `concert lag` says which rule found it; see whether its service "
    "runs, its log, and `concert readers list`; what waits for it is not lost.",
    "group_slow": "A reader is far behind and reads on; see `concert lag`; more processes of its service may "
    "help.",
    "answer_unsound": "A service answers operations what no release of this kind does; see which one runs "
    "there, and its log.",
    "view_recovers": "The view reads its tables back; if it stays so: `concert views reset referrals`.",
    "probe_fails": "Referrals between the probes of the two sectors are not seen in time: see which of their "
    "readers stands (`concert status`, `concert lag`); the log of operations names the code.",
    "reports_full": "More waits for the trail than the disk guard allows, so nothing is shown and little "
    "written; see whether the trail runs; once it takes reports the rest follows.",
    "report_refused": "The trail lacks what it refused; see table trail_outbox; delete what is settled.",
}
"""Every rule → what it means and what to do."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One rule that fires now; it ends when its source no longer tells it."""

    rule: str
    """A code of `RULES`, such as `outbox_waits`."""
    where: str
    """A topic and partition, a shard, an index: our own names, never a value from outside."""
    since: datetime


AlarmSource = Callable[[], Iterable[Alarm]]
"""Asked at each probe and scrape; answers from memory, without waiting."""
