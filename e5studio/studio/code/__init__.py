"""The Code tab: programs that compute what the page shows."""
