-- The tables of a sector service: cases, consents, views, feeds, what is in force, the way to the trail.

CREATE TABLE case_file (
  id text PRIMARY KEY,
  agency text NOT NULL,
  reference text NOT NULL, -- the agency's own number: stays in this database
  subject text NOT NULL UNIQUE, -- the case's alias in the trail
  next_subject integer NOT NULL DEFAULT 1,
  opened_at timestamptz NOT NULL);
CREATE INDEX ON case_file (agency, opened_at DESC, id DESC);

-- What she told the agency, sealed group by group; nobody but the vault opens a row (xpkt/1).
CREATE TABLE packet (
  case_id text PRIMARY KEY REFERENCES case_file,
  packet text NOT NULL UNIQUE,
  keyset text NOT NULL UNIQUE); -- names the keys of the case, so that erasing them names no case
CREATE TABLE data_key (
  key text PRIMARY KEY,
  keyset text NOT NULL REFERENCES packet (keyset),
  "group" text NOT NULL, -- a field group, or `case`: the key of her tags in the trail, which has no packet
  version integer NOT NULL,
  epoch text NOT NULL,
  wrap bytea NOT NULL, -- to the vault's intake key, then, adopted, under its key of the epoch
  is_adopted boolean NOT NULL DEFAULT false,
  UNIQUE (keyset, "group", version));
CREATE INDEX ON data_key (key) WHERE NOT is_adopted;
CREATE INDEX ON data_key (epoch, key);
CREATE TABLE packet_group (
  packet text NOT NULL REFERENCES packet (packet),
  "group" text NOT NULL,
  version integer NOT NULL,
  key text NOT NULL UNIQUE REFERENCES data_key,
  agency text NOT NULL,
  schema text NOT NULL,
  kc bytea NOT NULL CHECK (octet_length(kc) = 32),
  ct bytea NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (packet, "group", version));
CREATE TABLE intake_key (
  epoch text PRIMARY KEY,
  document jsonb NOT NULL, -- xint/1, signed by the vault
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL);
CREATE INDEX ON intake_key (not_after);
CREATE TABLE key_record (
  key text PRIMARY KEY,
  agency text NOT NULL,
  document jsonb NOT NULL, -- xkey/1, signed by the agency; travels with each pull
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  is_revoked boolean NOT NULL DEFAULT false);
CREATE INDEX ON key_record (agency, not_before);
CREATE TABLE release_made ( -- who holds what: a row for each group that left the vault
  release text NOT NULL,
  "group" text NOT NULL,
  version integer NOT NULL,
  case_id text NOT NULL REFERENCES case_file,
  referral text NOT NULL,
  agency text NOT NULL, -- the recipient
  released_at timestamptz NOT NULL,
  PRIMARY KEY (release, "group"));
CREATE INDEX ON release_made (case_id, released_at);

CREATE TABLE consent_version (
  id text NOT NULL,
  version integer NOT NULL,
  case_id text NOT NULL REFERENCES case_file,
  agency text NOT NULL,
  document jsonb NOT NULL, -- xcns/2, whose JCS form was signed
  signature bytea NOT NULL,
  PRIMARY KEY (id, version));
CREATE INDEX ON consent_version (case_id);

CREATE TABLE consent_withdrawal (
  id text NOT NULL,
  version integer NOT NULL,
  referral text NOT NULL,
  withdrawn_at timestamptz NOT NULL,
  PRIMARY KEY (id, version, referral),
  FOREIGN KEY (id, version) REFERENCES consent_version);

-- The ledger: what no release may rest on any more. A row is committed before whatever follows from it.
CREATE TABLE closure (
  n bigint PRIMARY KEY CHECK (n > 0), -- 1, 2, … without gap
  kind text NOT NULL CHECK (kind IN ('keyset', 'consent')),
  id text NOT NULL UNIQUE,
  recorded_at timestamptz NOT NULL,
  task jsonb, -- what is left to do, and for whom
  done_at timestamptz);
CREATE INDEX ON closure (recorded_at) WHERE done_at IS NULL;

CREATE TABLE referral_view (
  referral text NOT NULL,
  agency text NOT NULL,
  role text NOT NULL CHECK (role IN ('owner', 'receiver')),
  case_id text REFERENCES case_file,
  subject_number integer,
  consent_id text,
  consent_version integer,
  request jsonb, -- what its owner asked for, codes and ids alone: a successor repeats it
  state text,
  number bigint NOT NULL,
  is_awaited boolean NOT NULL,
  protocol text,
  offer jsonb,
  facts jsonb NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (referral, agency),
  CHECK ((role = 'owner') = (case_id IS NOT NULL)),
  FOREIGN KEY (consent_id, consent_version) REFERENCES consent_version);
CREATE INDEX ON referral_view (agency, updated_at DESC, referral DESC) WHERE is_awaited;
CREATE INDEX ON referral_view (agency, role, updated_at DESC, referral DESC);
CREATE INDEX ON referral_view (case_id) WHERE case_id IS NOT NULL;

CREATE TABLE feed_end (agency text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE feed_event (
  agency text NOT NULL,
  position bigint NOT NULL,
  type text NOT NULL,
  referral text NOT NULL,
  number bigint NOT NULL,
  state text,
  at timestamptz NOT NULL,
  code text,
  step text,
  PRIMARY KEY (agency, position));

CREATE TABLE agency (
  id text PRIMARY KEY,
  version bigint NOT NULL,
  sector text NOT NULL,
  organization text NOT NULL,
  status text NOT NULL,
  document jsonb NOT NULL); -- as governance signed it, whole: the vault checks it again
CREATE INDEX ON agency (organization);
CREATE TABLE service_key (
  service text PRIMARY KEY, version bigint NOT NULL, status text NOT NULL, document jsonb NOT NULL);
CREATE TABLE protocol (
  hash text PRIMARY KEY, id text NOT NULL, version bigint NOT NULL, document jsonb NOT NULL);
CREATE INDEX ON protocol (id, version DESC);
CREATE TABLE directory_entry (
  service text PRIMARY KEY,
  organization text NOT NULL,
  title text NOT NULL,
  organization_title text NOT NULL,
  status text NOT NULL,
  needs text[] NOT NULL,
  areas text[] NOT NULL,
  languages text[] NOT NULL,
  access_needs text[] NOT NULL,
  desk text NOT NULL,
  confirmed_at timestamptz NOT NULL);

CREATE TABLE permit_used (origin text NOT NULL, index bigint NOT NULL, PRIMARY KEY (origin, index));
CREATE TABLE trail_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('subjects', 'events', 'outcomes', 'erasures')),
  content text NOT NULL,
  refused text, -- the code under which the trail refused it for good: kept for the operator
  written_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON trail_outbox (kind, id) WHERE refused IS NULL;
CREATE INDEX ON trail_outbox (refused) WHERE refused IS NOT NULL;
CREATE TABLE denial (
  access text PRIMARY KEY, -- who was denied, and why: what the trail is told of all that follow the first
  agency text NOT NULL,
  times bigint NOT NULL DEFAULT 0, -- behind the first, which was reported at once
  since timestamptz NOT NULL,
  until timestamptz NOT NULL);
CREATE INDEX ON denial (agency);
CREATE INDEX ON denial (since);

CREATE TABLE idempotency (
  agency text NOT NULL,
  key_digest bytea NOT NULL,
  request_digest bytea NOT NULL,
  status smallint,
  headers text, -- text, for the same bytes again
  body text,
  taken_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (agency, key_digest));

-- The one way to delete what she told: only what the ledger closed for good, and all of it.
CREATE FUNCTION erase_case(the_case text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  DELETE FROM packet_group g USING packet p, closure c
  WHERE p.case_id = the_case AND g.packet = p.packet AND c.id = p.keyset;
  DELETE FROM data_key k USING packet p, closure c
  WHERE p.case_id = the_case AND k.keyset = p.keyset AND c.id = p.keyset;
$$;
REVOKE ALL ON FUNCTION erase_case FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_case TO "{service}";

GRANT SELECT, INSERT, UPDATE ON case_file, referral_view, feed_end, agency, service_key, directory_entry,
  idempotency TO "{service}";
GRANT SELECT, INSERT ON packet, packet_group, data_key, release_made TO "{service}";
GRANT UPDATE (epoch, wrap, is_adopted) ON data_key TO "{service}";
GRANT SELECT, INSERT, UPDATE (task, done_at) ON closure TO "{service}";
GRANT SELECT, INSERT, UPDATE, DELETE ON intake_key TO "{service}";
GRANT SELECT, INSERT, UPDATE (is_revoked) ON key_record TO "{service}";
GRANT SELECT, INSERT ON consent_version, consent_withdrawal, feed_event, protocol, permit_used TO "{service}";
GRANT SELECT, INSERT, DELETE, UPDATE (refused) ON trail_outbox TO "{service}";
GRANT SELECT, INSERT, DELETE, UPDATE (times, until) ON denial TO "{service}";
