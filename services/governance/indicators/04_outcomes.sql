-- id: 4
-- title: Outcomes
-- definition: How services ended: the outcome of those given, those not given, those who could not be reached; and why services were not given.
-- version: 1
-- persons: yes
-- part: outcomes; outcome, area; ended
-- part: not_provided; not_provided_reason, area; outcomes.not_provided

SELECT 'outcomes' AS part, month, ARRAY[outcome, area] AS keys, count(*) AS count
FROM referred, LATERAL (SELECT CASE type WHEN 'provided' THEN code ELSE type END) AS ended (outcome)
WHERE type IN ('provided', 'not_provided', 'unreachable') GROUP BY month, outcome, area
UNION ALL
SELECT 'not_provided', month, ARRAY[code, area], count(*) FROM referred
WHERE type = 'not_provided' GROUP BY month, code, area
