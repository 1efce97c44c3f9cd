"""Records made into tables, pages and notebooks."""
