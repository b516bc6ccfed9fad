"""The report of a study as one HTML file and as Markdown."""
