-- What every count of people's referrals begins with: the facts of the months asked for, each with what was
-- offered. Of a referral that its owner marked `none`, or not at all, the offer is not kept: it counts nowhere.
-- An area in which fewer than three agencies were offered referrals in a month is counted as `other`.
WITH month_fact AS (
  SELECT *, to_char(at AT TIME ZONE CAST(:zone AS text), 'YYYY-MM') AS month FROM referral_fact
  WHERE at >= :since AND at < :until),
offer AS (SELECT * FROM referral_fact WHERE type = 'offered'),
shared_area AS (
  SELECT month, area FROM month_fact WHERE type = 'offered'
  GROUP BY month, area HAVING count(DISTINCT agency) >= 3),
referred AS (
  SELECT f.type, f.month, f.at, f.referral, f.code, coalesce(f.met, 'unknown') AS met, f.hop, o.mark,
    coalesce(o.need, 'unknown') AS need, coalesce(o.access_need, 'unknown') AS access_need,
    coalesce(o.urgency, 'unknown') AS urgency, coalesce(o.agency, 'unknown') AS agency,
    coalesce(s.area, 'other') AS area
  FROM month_fact f JOIN offer o ON o.referral = f.referral
  LEFT JOIN shared_area s ON s.month = f.month AND s.area = o.area)
