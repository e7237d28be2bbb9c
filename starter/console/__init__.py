"""The web console: what is going on and what it needs of people, on pages that a phone shows at 3 a.m."""
