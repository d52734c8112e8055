"""Tests of the stream without a broker or a database."""
