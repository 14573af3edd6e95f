-- Acts that were tried without effect, and what was said to each since; people by pseudonym.
CREATE TABLE plan (
  id text PRIMARY KEY, act text NOT NULL, service text NOT NULL, chosen jsonb NOT NULL, count bigint NOT NULL,
  skips boolean NOT NULL, figures jsonb NOT NULL, scope jsonb NOT NULL, rate int NOT NULL,
  made_by text NOT NULL, made_at timestamptz NOT NULL, state text NOT NULL,
  reason text, confirmed_by text, approved_by text, started_at timestamptz, next_at timestamptz, wish text,
  done bigint NOT NULL, outcome jsonb, failure text, ended_at timestamptz, receipt text);
CREATE INDEX ON plan (made_at);
CREATE INDEX ON plan (next_at) WHERE state = 'running';
GRANT SELECT, INSERT, UPDATE (state, reason, confirmed_by, approved_by, started_at, next_at, wish, done, outcome,
  failure, ended_at, receipt) ON plan TO "{service}";
