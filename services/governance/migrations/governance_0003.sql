-- Facts kept to be counted, insert only: codes and random ids, no person. And what was counted from them.

CREATE TABLE referral_fact (
  event text PRIMARY KEY, type text NOT NULL, at timestamptz NOT NULL, referral text NOT NULL,
  code text, met text, hop int, mark text, need text, access_need text, urgency text, area text, agency text);
CREATE INDEX referral_fact_at ON referral_fact (at);
CREATE INDEX referral_fact_referral ON referral_fact (referral, type);
CREATE TABLE governance_fact (
  event text PRIMARY KEY, type text NOT NULL, at timestamptz NOT NULL, key text NOT NULL, body jsonb NOT NULL);
CREATE INDEX governance_fact_key ON governance_fact (key, type);
CREATE TABLE figure (
  indicator text NOT NULL, part text NOT NULL, month text NOT NULL, keys text[] NOT NULL,
  count bigint NOT NULL, PRIMARY KEY (indicator, part, month, keys));
GRANT SELECT, INSERT ON referral_fact, governance_fact TO "{service}";
GRANT SELECT, INSERT, DELETE ON figure TO "{service}";
