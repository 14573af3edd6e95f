"""How people come into a console: the issuer signs them in, sessions stand in the service's database."""
