-- Agencies as they stand, their duty desks, and the notices on their way to them.

CREATE TABLE agency (
  id text PRIMARY KEY, version bigint NOT NULL, sector text NOT NULL, status text NOT NULL,
  document jsonb NOT NULL);
CREATE TABLE desk (
  agency text NOT NULL, code text NOT NULL, mail text NOT NULL, language text NOT NULL,
  undeliverable_since timestamptz, PRIMARY KEY (agency, code));
CREATE TABLE notice (
  event text PRIMARY KEY, referral text NOT NULL, agency text NOT NULL, desk text NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'moot', 'given_up')),
  attempts int NOT NULL DEFAULT 0, written_at timestamptz NOT NULL, due_at timestamptz NOT NULL,
  FOREIGN KEY (agency, desk) REFERENCES desk);
CREATE INDEX notice_due ON notice (due_at) WHERE state IN ('waiting', 'sending');
CREATE INDEX notice_place ON notice (agency, desk) WHERE state IN ('waiting', 'sending');
CREATE INDEX notice_referral ON notice (referral) WHERE state IN ('waiting', 'sending');
CREATE TABLE message_key (one boolean PRIMARY KEY DEFAULT true CHECK (one), key bytea NOT NULL);
INSERT INTO message_key (key) SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
GRANT SELECT, INSERT, UPDATE ON agency, desk, notice TO "{service}";
GRANT SELECT ON message_key TO "{service}";
