"""Statements on access tokens. Only the owner makes, lists and revokes them."""

SCOPES_OF = "SELECT name, scopes FROM sales.token_scopes($1)"

#: The same name again makes a new token of the same name: the old one stops working.
CREATE = """
INSERT INTO sales.service_tokens AS t (name, digest, scopes) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, scopes = excluded.scopes,
    created_at = clock_timestamp(), revoked_at = NULL
"""

REVOKE = """
UPDATE sales.service_tokens SET revoked_at = clock_timestamp()
WHERE name = $1 AND revoked_at IS NULL RETURNING name
"""

LIST = """
SELECT name, scopes, created_at, revoked_at FROM sales.service_tokens ORDER BY name
"""
