-- The access trail: entries, tiles, head, which one function alone may write; subjects, keys, checkpoints.

CREATE TABLE log_state (
  log text PRIMARY KEY, epoch bigint NOT NULL,
  size bigint NOT NULL, root bytea NOT NULL CHECK (octet_length(root) = 32),
  due_size bigint NOT NULL CHECK (due_size BETWEEN 0 AND size),
  due_root bytea NOT NULL CHECK (octet_length(due_root) = 32));

CREATE TABLE entry (
  log text NOT NULL REFERENCES log_state, idx bigint NOT NULL CHECK (idx >= 0),
  caller text, idem bytea CHECK (octet_length(idem) = 16), body bytea CHECK (octet_length(body) = 32),
  leaf bytea NOT NULL CHECK (octet_length(leaf) = 52), key text NOT NULL, detail_ct bytea NOT NULL,
  PRIMARY KEY (log, idx), UNIQUE (log, caller, idem));

CREATE TABLE tile (
  log text NOT NULL REFERENCES log_state, level smallint NOT NULL, number bigint NOT NULL,
  hashes bytea NOT NULL CHECK (octet_length(hashes) % 32 = 0 AND octet_length(hashes) <= 8192),
  PRIMARY KEY (log, level, number));

CREATE TABLE subject (
  id text PRIMARY KEY, owner text NOT NULL, retention text NOT NULL, wrapped bytea NOT NULL,
  number bigint NOT NULL DEFAULT 0);

CREATE TABLE data_key (name text PRIMARY KEY, wrapped bytea NOT NULL);

CREATE TABLE checkpoint (
  log text NOT NULL REFERENCES log_state, size bigint NOT NULL, root bytea NOT NULL, note text NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log, size));

-- Whoever leads the log raises its epoch, so that a leader before it can write nothing more.
CREATE FUNCTION take_lead(the_log text, empty_root bytea)
RETURNS TABLE (size bigint, root bytea, epoch bigint, due_size bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO log_state AS s (log, epoch, size, root, due_size, due_root)
  VALUES (the_log, 1, 0, empty_root, 0, empty_root)
  ON CONFLICT (log) DO UPDATE SET epoch = s.epoch + 1
  RETURNING s.size, s.root, s.epoch, s.due_size
$$;

-- The one way in. False, and nothing written, unless the head is still the one the leader built upon.
CREATE FUNCTION append_entries(
  the_log text, old_size bigint, the_epoch bigint, new_root bytea, is_due boolean,
  callers text[], idems bytea[], bodies bytea[], leaves bytea[], keys text[], details bytea[],
  subjects text[], numbers bigint[], levels int[], tiles bigint[], hashes bytea[])
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
  head log_state;
  new_size bigint := old_size + cardinality(leaves);
BEGIN
  SELECT * INTO head FROM log_state s WHERE s.log = the_log FOR UPDATE;
  IF NOT FOUND OR head.size <> old_size OR head.epoch <> the_epoch THEN
    RETURN false;
  END IF;
  INSERT INTO entry (log, idx, caller, idem, body, leaf, key, detail_ct)
  SELECT the_log, old_size + e.n - 1, e.caller, e.idem, e.body, e.leaf, e.key, e.detail
  FROM unnest(callers, idems, bodies, leaves, keys, details)
       WITH ORDINALITY AS e(caller, idem, body, leaf, key, detail, n);
  UPDATE subject s SET number = c.number
  FROM unnest(subjects, numbers) AS c(id, number) WHERE s.id = c.id AND s.number < c.number;
  INSERT INTO tile (log, level, number, hashes)
  SELECT the_log, t.level, t.number, t.hashes FROM unnest(levels, tiles, hashes) AS t(level, number, hashes)
  ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes;
  UPDATE log_state s SET size = new_size, root = new_root,
    due_size = CASE WHEN is_due THEN new_size ELSE s.due_size END,
    due_root = CASE WHEN is_due THEN new_root ELSE s.due_root END
  WHERE s.log = the_log;
  RETURN true;
END
$$;

-- The keys of a subject go for good; what remains says that they were destroyed, and not lost.
CREATE FUNCTION erase_subject(the_subject text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  UPDATE subject SET wrapped = '' WHERE id = the_subject;
  UPDATE data_key SET wrapped = '' WHERE name = the_subject;
$$;

-- Sequencer and signer get what each needs, and no more.
REVOKE ALL ON FUNCTION take_lead, append_entries, erase_subject FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_lead, append_entries, erase_subject TO "{service}";
GRANT SELECT ON log_state, entry, tile, checkpoint, subject, data_key TO "{service}";
GRANT INSERT (id, owner, retention, wrapped) ON subject TO "{service}";
GRANT INSERT ON data_key TO "{service}";
GRANT SELECT ON log_state, tile, checkpoint, alembic_version TO "{service}_sign";
GRANT INSERT ON checkpoint TO "{service}_sign";
