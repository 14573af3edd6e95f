-- id: 11
-- title: Committees, meetings, mandates and influence
-- definition: Committees constituted and found incomplete, their seats as last told in a month, meetings held by whether they had a quorum, decisions by outcome, mandates given and ended (live are all given less all ended until then), and proposals tabled and adopted by who tabled them: adopted divided by tabled is the influence ratio.
-- version: 1
-- persons: no
-- part: committees; status, level; committees
-- part: seats; constituency, level; seats
-- part: meetings; had_quorum, level; meetings
-- part: decisions; outcome, level; decisions
-- part: mandates; change, level; mandates
-- part: proposals_tabled; constituency, level; tabled
-- part: proposals_adopted; constituency, level; adopted

WITH told AS (
  SELECT *, body->>'level' AS level, to_char(at AT TIME ZONE CAST(:zone AS text), 'YYYY-MM') AS month
  FROM governance_fact WHERE at >= :since AND at < :until),
seated AS (
  SELECT DISTINCT ON (month, key) month, key, level, body->'seats' AS seats FROM told
  WHERE type IN ('committee_constituted', 'committee_incomplete') ORDER BY month, key, at DESC, event DESC),
cell AS (
  SELECT 'committees' AS part, month, ARRAY[split_part(type, '_', 2), level] AS keys, 1 AS count FROM told
  WHERE type IN ('committee_constituted', 'committee_incomplete')
  UNION ALL
  SELECT 'seats', month, ARRAY[seat.key, level], CAST(seat.value AS int)
  FROM seated, LATERAL jsonb_each_text(seats) AS seat
  UNION ALL
  SELECT 'meetings', month, ARRAY[CASE body->>'had_quorum' WHEN 'true' THEN 'yes' ELSE 'no' END, level], 1
  FROM told WHERE type = 'meeting_held'
  UNION ALL
  SELECT 'decisions', month, ARRAY[body->>'outcome', level], 1 FROM told WHERE type = 'decision_taken'
  UNION ALL
  SELECT 'mandates', month, ARRAY['given', level], 1 FROM told WHERE type = 'mandate_given'
  UNION ALL
  SELECT 'mandates', t.month, ARRAY['ended', g.body->>'level'], 1
  FROM told t JOIN governance_fact g ON g.key = t.key AND g.type = 'mandate_given' WHERE t.type = 'mandate_expired'
  UNION ALL
  SELECT 'proposals_tabled', month, ARRAY[body->>'tabled_by', level], 1 FROM told WHERE type = 'decision_tabled'
  UNION ALL
  SELECT 'proposals_adopted', month, ARRAY[body->>'tabled_by', level], 1 FROM told
  WHERE type = 'decision_taken' AND body->>'outcome' = 'adopted')
SELECT part, month, keys, sum(count) AS count FROM cell GROUP BY part, month, keys
