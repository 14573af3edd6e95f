-- What the sweeper of ages looks for, and the rights that it makes unnecessary: `prune` alone takes old rows away.
CREATE INDEX ON inbox (received_at);
CREATE INDEX ON dead_letter (last_at) WHERE state <> 'waiting';
CREATE INDEX ON operator_act (told_at);
REVOKE DELETE ON inbox, log_end FROM "{service}";
