"""HTTP for the operator and the other services on the internal port, and for partners on theirs."""
