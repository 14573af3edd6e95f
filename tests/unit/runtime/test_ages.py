"""The topics that `outbox_sent` keeps for are told by their names."""

import re

from schemas.topics import TOPICS
from schemas.wire.receipts import receipt_key
from services.runtime.schema import ages_of


def test_states_and_what_readers_confirm_are_known_by_the_names_of_their_topics() -> None:
    [sent] = [age for age in ages_of("health") if age.table == "outbox_sent"]
    confirmed = re.search(r"~ '([^']+)'", sent.stays)
    assert confirmed
    for topic in TOPICS:
        name = topic.name("t.")
        assert name.endswith(".state.v1") == topic.compacted
        assert bool(re.search(confirmed[1], name)) == bool(topic.leads_back)
    assert f"'{receipt_key('')}'" in sent.stays
