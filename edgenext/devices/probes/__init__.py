"""What a device says of itself: what it is, and what state it is in."""
