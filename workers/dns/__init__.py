"""Locating SIP servers by name (RFC 3263): hosts file, DNS records, and the choice among them."""
