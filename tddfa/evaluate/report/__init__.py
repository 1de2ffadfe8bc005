"""Results to be read: tables, pages, plots and contact sheets."""
