"""Load tests: SIPp and locust against a running server, and the comparison with Kamailio."""
