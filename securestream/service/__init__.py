"""What programs are built from: connecting and serving over TCP and other listeners."""
