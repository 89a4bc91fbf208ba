"""Signed tokens: their keys, from where issuers publish them or from a file, and their verification."""
