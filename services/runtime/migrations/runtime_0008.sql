-- What was sent, where logs ended and what was looked for are in order by a number: a clock goes back.
CREATE SEQUENCE send_order;
SELECT nextval('send_order'); -- a fresh sequence shows as its last number the one that it is going to give
GRANT USAGE, SELECT ON SEQUENCE send_order TO "{service}";
ALTER TABLE outbox_sent ADD COLUMN place bigint NOT NULL DEFAULT nextval('send_order');
DROP INDEX outbox_sent_sent_at_idx;
CREATE INDEX ON outbox_sent (place);

-- Each partition's newest sample is kept as one from before all that was sent: too much is sent again, never less.
DELETE FROM log_end o WHERE at < (SELECT max(n.at) FROM log_end n WHERE n.topic = o.topic AND n.part = o.part);
ALTER TABLE log_end ADD COLUMN place bigint NOT NULL DEFAULT 0, ALTER COLUMN at SET DEFAULT clock_timestamp();
ALTER TABLE log_end DROP CONSTRAINT log_end_pkey, ADD PRIMARY KEY (topic, part, place),
  ALTER COLUMN place DROP DEFAULT;
ALTER TABLE refilled DROP COLUMN at, ADD COLUMN place bigint NOT NULL DEFAULT 0;
ALTER TABLE unconfirmed ADD COLUMN place bigint NOT NULL DEFAULT 0; -- no unconfirmed row of the key is before it

-- One row: all before `looked` has been looked at; what is before `following` is next, once that is old enough.
DROP TABLE receipt_look;
CREATE TABLE receipt_look (looked bigint NOT NULL, following bigint NOT NULL, at timestamptz NOT NULL);
INSERT INTO receipt_look VALUES (0, 0, now());
GRANT SELECT, UPDATE ON receipt_look TO "{service}";

-- Back to the outbox under their old ids, so that they leave before newer ones: the one way to take rows that were
-- sent. All of these topics; with keys, one for each topic, only what their readers have not confirmed.
DROP FUNCTION resend;
DROP FUNCTION refill;
CREATE FUNCTION send_again(topics text[], keys bytea[], first bigint, before bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  -- A relay that moves rows meanwhile ends first, and its rows are seen, or it begins later and sees `refilled`.
  LOCK TABLE outbox_sent IN SHARE ROW EXCLUSIVE MODE;
  WITH back AS (
    DELETE FROM outbox_sent o
    WHERE o.place >= first AND (before IS NULL OR o.place < before) AND o.topic = ANY(topics)
      AND (keys IS NULL OR (o.topic, o.key) IN (SELECT * FROM unnest(topics, keys)) AND o.sequence > (
        SELECT s.confirmed FROM sequence_out s WHERE s.topic = o.topic AND s.key = o.key))
    RETURNING o.id, o.shard, o.topic, o.key, o.sequence, o.value),
  put AS (
    INSERT INTO outbox (id, shard, topic, key, sequence, value)
    SELECT * FROM back ORDER BY id RETURNING 1)
  SELECT count(*) FROM put;
$$;
REVOKE ALL ON FUNCTION send_again FROM PUBLIC;
GRANT EXECUTE ON FUNCTION send_again TO "{service}";
