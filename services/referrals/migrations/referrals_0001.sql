-- Referrals, the numbers given to each party, and what stands around them: agencies, protocols, directory.

CREATE TABLE referral (
  id text PRIMARY KEY, version bigint NOT NULL CHECK (version > 0), state text NOT NULL,
  owner text NOT NULL, owner_desk text NOT NULL, receiver text NOT NULL, receiver_desk text NOT NULL,
  service text NOT NULL, urgency text NOT NULL, feedback_allowed boolean NOT NULL, protocol text NOT NULL,
  groups text NOT NULL, consent_version integer NOT NULL, hop integer NOT NULL, attempt integer NOT NULL,
  seal_by_at timestamptz, deadlines text NOT NULL, -- the clocks that run, as JSON; due_at is the next of them
  due_at timestamptz,
  CHECK (owner <> receiver));
CREATE INDEX ON referral (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE addressed (
  referral text, agency text, last bigint NOT NULL CHECK (last > 0), PRIMARY KEY (referral, agency));
CREATE TABLE agency (
  id text PRIMARY KEY, version bigint NOT NULL, sector text NOT NULL, organization text NOT NULL,
  status text NOT NULL CHECK (status IN ('active', 'suspended')), document jsonb NOT NULL);
CREATE INDEX ON agency (organization);
CREATE TABLE protocol (
  hash text PRIMARY KEY, id text NOT NULL, version bigint NOT NULL, document jsonb NOT NULL);
CREATE INDEX ON protocol (id, version DESC);
CREATE TABLE directory_entry (
  service text PRIMARY KEY, organization text NOT NULL, title text NOT NULL, organization_title text NOT NULL,
  status text NOT NULL, needs jsonb NOT NULL, areas jsonb NOT NULL, languages jsonb NOT NULL,
  access_needs jsonb NOT NULL, desk text NOT NULL, confirmed_at timestamptz NOT NULL);
CREATE TABLE unmet_need (
  unmet text PRIMARY KEY, need text NOT NULL, access_needs jsonb NOT NULL, area text NOT NULL,
  month text NOT NULL); -- no exact time, no agency: nobody can join it to a referral
GRANT SELECT, INSERT, UPDATE ON referral, addressed, agency, directory_entry TO "{service}";
GRANT SELECT, INSERT ON protocol, unmet_need TO "{service}";
