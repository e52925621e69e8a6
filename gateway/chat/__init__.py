"""The native chat surface: POST /v1/chat and /v1/chat/stream, and what belongs to a chat under way."""
