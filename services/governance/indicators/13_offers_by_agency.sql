-- id: 13b
-- title: Offers that await each agency
-- definition: Referrals offered, by the agency that had to answer.
-- version: 1
-- persons: yes
-- part: offers_by_agency; agency; referrals

SELECT 'offers_by_agency' AS part, month, ARRAY[agency] AS keys, count(*) AS count FROM referred
WHERE type = 'offered' GROUP BY month, agency
