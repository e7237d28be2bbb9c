"""`failoverctl doctor`: everything that a failover will need, looked at beforehand, and how to repair what is missing."""
