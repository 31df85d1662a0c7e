"""Studies too long for a chapter: many runs, recorded in results/, rerun by command."""
