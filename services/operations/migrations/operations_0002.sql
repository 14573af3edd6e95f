-- Who may come to the console, and as what; people by pseudonym, one row a person.

CREATE TABLE operator_grant (
  person text PRIMARY KEY,
  role text NOT NULL CHECK (role IN ('viewer', 'operator', 'redriver', 'administrator')),
  granted_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON operator_grant (role);
GRANT SELECT, INSERT, UPDATE, DELETE ON operator_grant TO "{service}";
