-- What the sweeper of ages looks for.
CREATE INDEX ON checkpoint (signed_at);
