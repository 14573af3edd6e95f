-- What the partners did, one row an act, to be read for good; and how each committee, mandate, … stands now.

CREATE TABLE act (
  number bigint PRIMARY KEY CHECK (number > 0),
  kind text NOT NULL, id text NOT NULL, name text NOT NULL,
  role text NOT NULL, partner text NOT NULL, constituency text NOT NULL, staff text NOT NULL,
  at timestamptz NOT NULL, body jsonb NOT NULL, state text NOT NULL, facts text[] NOT NULL);
CREATE INDEX act_of_record ON act (kind, id, number);
CREATE INDEX act_of_partner ON act (kind, id, partner, number);
CREATE TABLE record (
  kind text NOT NULL, id text NOT NULL, state text NOT NULL, version int NOT NULL, content jsonb NOT NULL,
  made_by text NOT NULL, due timestamptz, changed bigint NOT NULL REFERENCES act (number),
  PRIMARY KEY (kind, id));
CREATE INDEX record_changed ON record (changed);
CREATE INDEX record_due ON record (due) WHERE due IS NOT NULL;
GRANT SELECT, INSERT ON act TO "{service}";
GRANT SELECT, INSERT, UPDATE ON record TO "{service}";
