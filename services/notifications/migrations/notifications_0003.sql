-- That `referrals.facts` carried a referral between probes, and when last: one row.

CREATE TABLE probe_sight (it text PRIMARY KEY CHECK (it = 'it'), seen_at timestamptz NOT NULL);
GRANT SELECT, INSERT, UPDATE ON probe_sight TO "{service}";
