-- id: 3
-- title: Answers
-- definition: What became of offers: accepted, declined, or expired because nobody answered; and why services declined.
-- version: 1
-- persons: yes
-- part: answers; answer, area; answered
-- part: declines; decline_reason, area; answers.declined

SELECT 'answers' AS part, month, ARRAY[type, area] AS keys, count(*) AS count FROM referred
WHERE type IN ('accepted', 'declined', 'expired') GROUP BY month, type, area
UNION ALL
SELECT 'declines', month, ARRAY[code, area], count(*) FROM referred
WHERE type = 'declined' GROUP BY month, code, area
