"""The page around the tabs: layout, theme, links, saved files."""
