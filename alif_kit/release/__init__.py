"""Release: from an adapter to what people use: merged weights, GGUF, cards, the Hub, a chat."""
