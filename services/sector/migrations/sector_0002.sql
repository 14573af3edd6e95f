-- When a permit was used, and what the sweeper of ages looks for.
ALTER TABLE permit_used ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX ON permit_used (used_at);
CREATE INDEX ON feed_event (at);
CREATE INDEX ON idempotency (taken_at);
REVOKE DELETE ON intake_key FROM "{service}";
