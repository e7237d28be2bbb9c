"""The task queue that every workflow and activity of the product is polled on."""

TASK_QUEUE = "failover"
