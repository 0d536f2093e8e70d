"""Ways to a device: the four verbs, over a link that may break."""
