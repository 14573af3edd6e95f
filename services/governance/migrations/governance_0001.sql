-- Every version of every agency, service and protocol, to be read for good; and who held a key first.

CREATE TABLE publication (
  id text NOT NULL, version int NOT NULL CHECK (version > 0),
  kind text NOT NULL CHECK (kind IN ('agency', 'service', 'protocol')),
  hash text NOT NULL, content jsonb NOT NULL, published_at timestamptz NOT NULL, PRIMARY KEY (id, version));
CREATE TABLE key_holder (key text PRIMARY KEY, holder text NOT NULL);
GRANT SELECT, INSERT ON publication, key_holder TO "{service}";
