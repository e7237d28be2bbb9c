"""The webhook server: alerts in, runs out; Slack's buttons; the doors that drive a run over HTTP."""
