-- The probe: whose turn it is, with the case and the consent that a pair's rounds share, and how rounds ended.

CREATE TABLE probe_pair (
  owner text, receiver text, begun_at timestamptz, case_id text, consent jsonb,
  places jsonb NOT NULL DEFAULT '{}', -- sector: how far its feed was read
  succeeded_at timestamptz, seconds real, failing_since timestamptz, failures int NOT NULL DEFAULT 0,
  PRIMARY KEY (owner, receiver));
CREATE TABLE probe_round (
  at timestamptz NOT NULL, owner text NOT NULL, receiver text NOT NULL, seconds real, code text);
CREATE INDEX ON probe_round (at);
GRANT SELECT, INSERT, UPDATE ON probe_pair TO "{service}";
GRANT SELECT, INSERT ON probe_round TO "{service}";
