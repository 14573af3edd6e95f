-- id: 6
-- title: Unmet need
-- definition: Needs for which the directory had no service, and referrals that ended because nobody helped: by need, and by what she needed besides to use a service.
-- version: 1
-- persons: yes
-- part: unmet_by_need; need, area; unmet_needs
-- part: unmet_by_access_need; access_need, area; unmet_needs

, unmet AS (
  SELECT month, need, access_need, area FROM referred WHERE type = 'closed_unmet'
  UNION ALL
  SELECT f.month, f.need, f.access_need, coalesce(s.area, 'other') FROM month_fact f
  LEFT JOIN shared_area s ON s.month = f.month AND s.area = f.area WHERE f.type = 'unmet_need_recorded')
SELECT part, month, keys, count(*) AS count FROM unmet, LATERAL (VALUES
  ('unmet_by_need', ARRAY[need, area]), ('unmet_by_access_need', ARRAY[access_need, area])) AS cell (part, keys)
GROUP BY part, month, keys
