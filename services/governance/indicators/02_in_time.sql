-- id: 2
-- title: Answered, started and followed up in time
-- definition: Answers and offers that nobody answered, services begun, and next steps after a no, each by whether the protocol's time for it was met.
-- version: 1
-- persons: yes
-- part: answers_in_time; met, area; answered
-- part: starts_in_time; met, area; starts
-- part: next_steps_in_time; met, area; next_steps

SELECT part, month, ARRAY[met, area] AS keys, count(*) AS count FROM referred JOIN (VALUES
  ('answers_in_time', 'accepted'), ('answers_in_time', 'declined'), ('answers_in_time', 'expired'),
  ('starts_in_time', 'started'),
  ('next_steps_in_time', 'redirected'), ('next_steps_in_time', 'reoffered'),
  ('next_steps_in_time', 'closed_unmet')) AS counted (part, type) USING (type)
GROUP BY part, month, met, area
