"""Programs for those who work on kbstore; none of them is in the wheel."""
