-- The writer epoch: one row. It goes up when this database is not the newest that it ever was.
CREATE TABLE writer (
  is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
  epoch bigint NOT NULL DEFAULT 1 CHECK (epoch > 0),
  is_filed boolean NOT NULL DEFAULT false, -- whether a file beside the database holds the epoch too
  restoring boolean NOT NULL DEFAULT false, -- whether it asks the neighbours first, and serves then
  state_at timestamptz, -- of which time the restored database is, with something to spare
  report jsonb); -- what the last restore found
INSERT INTO writer DEFAULT VALUES;
-- The highest epoch in which each writer was heard, and since when: what an older one says later is refused.
CREATE TABLE epoch_heard (source text PRIMARY KEY, epoch bigint NOT NULL, since timestamptz NOT NULL);
GRANT SELECT, UPDATE ON writer TO "{service}";
GRANT SELECT, INSERT, UPDATE ON epoch_heard TO "{service}";
CREATE INDEX ON dead_letter (event_id) WHERE state = 'discarded';
