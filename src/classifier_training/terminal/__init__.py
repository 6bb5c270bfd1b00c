"""What a person sees on the screen and in the log; it shows, it never decides."""
