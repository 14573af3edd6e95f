"""The arbiter: it alone decides which step of a referral follows which."""
