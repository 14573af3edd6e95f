-- Who is signed in at this service's console, and which forms were sent. Of a cookie only the hash is kept.

CREATE TABLE console_session (
  id bytea PRIMARY KEY CHECK (octet_length(id) = 32), person text NOT NULL,
  authenticated_at timestamptz NOT NULL, -- when the issuer had the person prove who they are
  began_at timestamptz NOT NULL, seen_at timestamptz NOT NULL);
CREATE INDEX ON console_session (person, began_at);
CREATE TABLE console_form (
  id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
  session bytea NOT NULL REFERENCES console_session ON DELETE CASCADE,
  answer text, -- where whoever sent it was led
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON console_form (session);
GRANT SELECT, INSERT, DELETE, UPDATE (seen_at) ON console_session TO "{service}";
GRANT SELECT, INSERT, DELETE, UPDATE (answer) ON console_form TO "{service}";
