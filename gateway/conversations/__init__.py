"""`/v1/conversations`: lists, shows, searches, exports and deletes what was said; chats add to it (gateway/chat)."""
