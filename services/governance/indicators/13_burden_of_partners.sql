-- id: 13
-- title: Burden of partners
-- definition: Hours that each partner logged for a month, and meetings that committees of each level held.
-- version: 1
-- persons: no
-- part: hours; constituency, partner; hours
-- part: meetings_by_level; level; meetings

SELECT 'hours' AS part, body->>'month' AS month, ARRAY[body->>'constituency', key] AS keys,
  sum(CAST(body->>'hours' AS bigint)) AS count
FROM governance_fact WHERE type = 'effort_logged' AND at >= :since AND at < :until
GROUP BY body->>'month', body->>'constituency', key
UNION ALL
SELECT 'meetings_by_level', to_char(at AT TIME ZONE CAST(:zone AS text), 'YYYY-MM') AS met_in,
  ARRAY[body->>'level'], count(*)
FROM governance_fact WHERE type = 'meeting_held' AND at >= :since AND at < :until GROUP BY met_in, body->>'level'
