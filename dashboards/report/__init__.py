"""The report of a study as an HTML file with a summary in Markdown; the report of a data set."""
