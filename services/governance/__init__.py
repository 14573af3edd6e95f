"""Keeps which agencies are admitted and which sharing protocols are in force, and publishes both."""
