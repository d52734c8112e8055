"""What frames look like on their way between assets: pandera schemas and column descriptions."""
