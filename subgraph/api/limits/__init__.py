"""What a GraphQL operation may cost, bounded before it is executed: its document, its values, what it asks for."""
