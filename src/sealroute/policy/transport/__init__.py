"""Transport rules: what makes a message go another way, or under stricter demands, than its recipient domain alone would."""
