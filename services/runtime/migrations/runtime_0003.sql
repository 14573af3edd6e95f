-- Where the logs ended, sampled every few seconds and kept a day: a shorter log, or another one, has lost rows.
CREATE TABLE log_end (
  topic text, part int, at timestamptz, topic_id uuid NOT NULL, next bigint NOT NULL,
  PRIMARY KEY (topic, part, at));
CREATE FUNCTION refill(the_topic text, since timestamptz, before timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  WITH back AS (
    DELETE FROM outbox_sent o WHERE o.topic = the_topic AND o.sent_at >= since AND o.sent_at < before
    RETURNING o.id, o.shard, o.topic, o.key, o.sequence, o.value),
  put AS (
    INSERT INTO outbox (id, shard, topic, key, sequence, value)
    SELECT * FROM back ORDER BY id RETURNING 1)
  SELECT count(*) FROM put;
$$;
REVOKE ALL ON FUNCTION refill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refill TO "{service}";
GRANT SELECT, INSERT, DELETE ON log_end TO "{service}";
