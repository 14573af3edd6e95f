-- When a reader last committed what it had read of a partition.

ALTER TABLE consumer_offset ADD COLUMN moved_at timestamptz NOT NULL DEFAULT clock_timestamp();
