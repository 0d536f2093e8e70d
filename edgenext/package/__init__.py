"""What the developer of an app gets of a file: a folder or zip with everything that is needed."""
