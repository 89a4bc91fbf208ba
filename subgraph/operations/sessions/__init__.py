"""Operations on sessions: each is loaded, decided on and committed; their names, lists and copies."""
