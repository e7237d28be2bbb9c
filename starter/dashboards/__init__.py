"""What Prometheus and Grafana are given: rules, alerts, a dashboard."""
