-- Delivery receipts: what readers have confirmed, what was sent and is not, and the way to send it again.

ALTER TABLE sequence_out ADD COLUMN confirmed bigint NOT NULL DEFAULT 0;
CREATE INDEX ON outbox_sent (sent_at);
CREATE TABLE receipt_look (sent_before timestamptz NOT NULL); -- one row: what was sent before has been looked at
INSERT INTO receipt_look VALUES (now());
CREATE TABLE unconfirmed (
  topic text, key bytea, sequence bigint NOT NULL, since timestamptz NOT NULL, resent smallint NOT NULL DEFAULT 0,
  PRIMARY KEY (topic, key));

-- Back to the outbox under their old ids, so that they leave before newer ones: the one way to take a row that
-- was sent. Each row is in one of the two tables, never in both.
CREATE FUNCTION resend(topics text[], keys bytea[], since timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  WITH back AS (
    DELETE FROM outbox_sent o
    USING unnest(topics, keys) AS u (topic, key) JOIN sequence_out s ON s.topic = u.topic AND s.key = u.key
    WHERE o.sent_at >= since AND o.topic = u.topic AND o.key = u.key AND o.sequence > s.confirmed
    RETURNING o.id, o.shard, o.topic, o.key, o.sequence, o.value),
  put AS (
    INSERT INTO outbox (id, shard, topic, key, sequence, value)
    SELECT * FROM back ORDER BY id RETURNING 1)
  SELECT count(*) FROM put;
$$;
REVOKE ALL ON FUNCTION resend FROM PUBLIC;
GRANT EXECUTE ON FUNCTION resend TO "{service}";
GRANT SELECT, UPDATE ON receipt_look TO "{service}";
GRANT SELECT, INSERT, UPDATE, DELETE ON unconfirmed TO "{service}";
