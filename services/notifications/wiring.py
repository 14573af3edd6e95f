"""Puts notifications together."""

import ssl
from functools import partial

from schemas.events.governance_keys import GovernanceKeys
from services.notifications.api import desks_app
from services.notifications.channels import Mail, MailDispatcher
from services.notifications.handlers import Work
from services.notifications.settings import Settings, SmtpSettings
from services.notifications.store import NotificationStore
from services.notifications.subscriptions import SUBSCRIPTIONS
from services.runtime.process import Parts, Runtime
from services.runtime.service_report import FieldFigures
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The desks' API, the reader of facts, and the dispatch of mails."""
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())

    def work_on(transaction: Transaction) -> Work:
        return Work(NotificationStore(transaction), runtime.clock, keys)

    open_work = runtime.database.opener(work_on)
    caller = token_reader_of(settings.issuer, runtime.identity.source, runtime.clock)
    mail = mail_of(settings.smtp)
    singly = runtime.database.opener(work_on, singly=True)
    siblings = runtime.siblings
    dispatcher = MailDispatcher(
        open_work, singly, mail.deliver, runtime.clock, partial(siblings.tell, "mail")
    )
    siblings.hear("mail", dispatcher.hear_taken)

    async def figures() -> FieldFigures:
        async with runtime.database.transaction() as transaction:
            return FieldFigures(probe_seen_at=await NotificationStore(transaction).probe_seen_at())

    return Parts(
        subscriptions=SUBSCRIPTIONS,
        open_work=work_on,
        api=desks_app(open_work, caller),
        sweepers=(Sweeper("dispatch", settings.sweep_every.total_seconds(), dispatcher.sweep),),
        alarms=(dispatcher.alarms,),
        figures=figures,
    )


def mail_of(smtp: SmtpSettings) -> Mail:
    """The way to a mail server, as its settings say."""
    tls = ssl.create_default_context(cafile=smtp.authority_file) if smtp.encryption == "starttls" else None
    return Mail(smtp.host, smtp.port, smtp.sender, tls)
