"""The parent process: opens everything once, forks and watches the children, serves no SIP."""
