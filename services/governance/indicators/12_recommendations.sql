-- id: 12
-- title: Recommendations
-- definition: Recommendations that reached a status for the first time: by their level, by their phase, and by what they change; those that change a rule, a budget or a service, divided by all, are the transformative share.
-- version: 1
-- persons: no
-- part: recommendations_by_level; status, level; recommendations
-- part: recommendations_by_phase; status, phase; recommendations
-- part: recommendations_by_change; status, changes; recommendations

WITH agreed AS (
  SELECT DISTINCT ON (key) key, body FROM governance_fact WHERE type = 'recommendation_agreed'
  ORDER BY key, at, event),
reached AS (
  SELECT DISTINCT ON (f.key, f.type) split_part(f.type, '_', 2) AS status, f.at, a.body
  FROM governance_fact f JOIN agreed a USING (key)
  WHERE f.type IN ('recommendation_agreed', 'recommendation_assigned', 'recommendation_implemented',
    'recommendation_verified', 'recommendation_stalled')
  ORDER BY f.key, f.type, f.at, f.event)
SELECT part, to_char(at AT TIME ZONE CAST(:zone AS text), 'YYYY-MM') AS month, keys, count(*) AS count
FROM reached, LATERAL (VALUES
  ('recommendations_by_level', ARRAY[status, body->>'level']),
  ('recommendations_by_phase', ARRAY[status, body->>'phase']),
  ('recommendations_by_change', ARRAY[status, body->>'changes'])) AS cell (part, keys)
WHERE at >= :since AND at < :until GROUP BY part, month, keys
