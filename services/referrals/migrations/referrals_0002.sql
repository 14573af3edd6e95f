-- Since when the oldest offer waits for an answer is found at once, however many wait.

CREATE INDEX referral_unanswered ON referral ((CAST(deadlines AS jsonb) #>> '{answer,since_at}'))
  WHERE state IN ('offered', 'acknowledged');
