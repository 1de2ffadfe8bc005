"""Reports of results: tables, pages, plots and contact sheets."""
