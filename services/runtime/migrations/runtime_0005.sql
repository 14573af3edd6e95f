-- Up to where brokers said that they hold what was sent, kept with the very rows: no sample is so recent.
CREATE TABLE log_ack (topic text, part int, next bigint NOT NULL, PRIMARY KEY (topic, part));
GRANT SELECT, INSERT, UPDATE, DELETE ON log_ack TO "{service}";

-- What the last record was like that a reader took: a log that was refilled is as long, and another one.
ALTER TABLE consumer_offset ADD COLUMN mark bigint;

-- When a topic was last refilled: what a relay began to send before that may lie in the log that was lost.
CREATE TABLE refilled (topic text PRIMARY KEY, at timestamptz NOT NULL);
GRANT SELECT, INSERT, UPDATE ON refilled TO "{service}";
CREATE OR REPLACE FUNCTION refill(the_topic text, since timestamptz, before timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  -- A relay that moves rows meanwhile ends first, and its rows are seen, or it begins later and sees `refilled`.
  LOCK TABLE outbox_sent IN SHARE ROW EXCLUSIVE MODE;
  WITH back AS (
    DELETE FROM outbox_sent o WHERE o.topic = the_topic AND o.sent_at >= since AND o.sent_at < before
    RETURNING o.id, o.shard, o.topic, o.key, o.sequence, o.value),
  put AS (
    INSERT INTO outbox (id, shard, topic, key, sequence, value)
    SELECT * FROM back ORDER BY id RETURNING 1)
  SELECT count(*) FROM put;
$$;
