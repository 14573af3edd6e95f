-- id: 1
-- title: Referrals and survivors
-- definition: Referrals offered, and survivors: of these the ones that their owner marked as her first.
-- version: 1
-- persons: yes
-- part: referrals_by_need; need, area; referrals
-- part: referrals_by_urgency; urgency, area; referrals
-- part: survivors_by_need; need, area; some referrals_by_need

SELECT part, month, keys, count(*) AS count FROM referred, LATERAL (VALUES
  ('referrals_by_need', ARRAY[need, area], true),
  ('referrals_by_urgency', ARRAY[urgency, area], true),
  ('survivors_by_need', ARRAY[need, area], mark = 'first')) AS cell (part, keys, counts)
WHERE type = 'offered' AND counts GROUP BY part, month, keys
