"""Features of anyone's images, kept in a file, and the images that they take for alike."""
