"""What the two ends say to each other: bytes in, bytes out. No I/O, no clock, no Trio."""
