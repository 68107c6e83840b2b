"""Questions and answers over secure streams: a small server of market data, and its client. See README.md."""
