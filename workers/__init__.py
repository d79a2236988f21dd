"""What runs in a child process: one module per kind of child, and the frame they share."""
