-- id: 5
-- title: Loops closed, and chains
-- definition: Referrals closed, by whether their owner had heard before how it went; and referrals passed on to another service, by which one in a row it is.
-- version: 1
-- persons: yes
-- part: closed; after_feedback, area; closures
-- part: chains; hop, area; some next_steps

SELECT 'closed' AS part, month, ARRAY[heard, area] AS keys, count(*) AS count
FROM referred, LATERAL (SELECT CASE WHEN EXISTS (
  SELECT FROM referral_fact f WHERE f.referral = referred.referral AND f.type = 'feedback_given'
) THEN 'yes' ELSE 'no' END) AS feedback (heard)
WHERE type = 'closed' GROUP BY month, heard, area
UNION ALL
SELECT 'chains', month, ARRAY[coalesce(CAST(hop AS text), 'unknown'), area], count(*) FROM referred
WHERE type = 'redirected' GROUP BY month, hop, area
