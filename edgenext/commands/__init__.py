"""What the commands do, without a screen: one file each."""
