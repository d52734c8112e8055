"""Statements of the service, as text with `$1` placeholders for psycopg and ADBC alike."""
