"""One machine with nothing but Python: real Kafka, real PostgreSQL and every service, started and stopped."""
