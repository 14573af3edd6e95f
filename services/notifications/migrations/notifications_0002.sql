-- What the sweeper of ages looks for.
CREATE INDEX ON notice (written_at) WHERE state NOT IN ('waiting', 'sending');
