"""The inputs of mutations and dry runs, by subject, and their translation into the domain's values."""
