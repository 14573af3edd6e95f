-- What was seen of streams and services: where logs ended and when first so, each group's verdict, last answers.

CREATE TABLE log_sample (
  topic text, part int, topic_id uuid, next bigint, at timestamptz NOT NULL,
  PRIMARY KEY (topic, part, topic_id, next));
CREATE TABLE stream_sample (
  at timestamptz, grp text, topic text, verdict text NOT NULL, rule text NOT NULL,
  lag_seconds real, lag_messages bigint, commit_age_seconds real, members int,
  PRIMARY KEY (at, grp, topic));
CREATE TABLE service_answer (
  service text, process text, answered_at timestamptz NOT NULL, started_at timestamptz NOT NULL,
  restarts int NOT NULL DEFAULT 0, answer text NOT NULL, PRIMARY KEY (service, process));
GRANT SELECT, INSERT ON log_sample, stream_sample TO "{service}";
GRANT SELECT, INSERT, UPDATE ON service_answer TO "{service}";
