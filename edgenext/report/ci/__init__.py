"""Results for continuous integration: conditions, JUnit, CSV and a summary in Markdown."""
