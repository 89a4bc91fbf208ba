"""What other services import: the fence for a tile's records at their destination, and the audit that checks it."""
