"""What is registered of sessions: it becomes tiles, it follows a session's stops and starts, it is taken out again."""
