-- What operators had this service do, and why; the trail is told of each.
CREATE TABLE operator_act (
  id text PRIMARY KEY, verb text NOT NULL, counts jsonb NOT NULL, reason text NOT NULL,
  done_at timestamptz NOT NULL DEFAULT clock_timestamp(), told_at timestamptz);
CREATE INDEX ON operator_act (done_at) WHERE told_at IS NULL;
GRANT SELECT, INSERT, UPDATE (told_at) ON operator_act TO "{service}";
