"""How the trail proves: its bytes, tree, notes, tiles and permits.

Imports the standard library and `cryptography` alone. The sequencer, whoever shows something and the offline
verifier read it; copied alone with `services/audit/verifier`, both under their own paths, it verifies:
`python -m services.audit.verifier verify DIRECTORY`.
"""
