-- id: 7
-- title: Withdrawals sealed in time
-- definition: Consents that she took back, by whether the receiver's copy was confirmed sealed within 24 hours.
-- version: 1
-- persons: yes
-- part: withdrawals; within_24_h, area; withdrawn

SELECT 'withdrawals' AS part, month, ARRAY[sealed, area] AS keys, count(*) AS count
FROM referred, LATERAL (SELECT CASE WHEN EXISTS (
  SELECT FROM referral_fact f WHERE f.referral = referred.referral AND f.type = 'seal_confirmed'
    AND f.at <= referred.at + interval '24 hours'
) THEN 'yes' ELSE 'no' END) AS seal (sealed)
WHERE type = 'withdrawn' GROUP BY month, sealed, area
