"""Sessions as a whole: exported, imported, copied, and all of an owner's erased."""
