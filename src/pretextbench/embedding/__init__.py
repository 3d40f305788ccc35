"""Features of any images, saved to a file, and searches for similar images."""
