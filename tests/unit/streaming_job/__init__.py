"""Tests of the stream that need no broker and no database."""
