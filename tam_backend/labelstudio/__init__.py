"""The only floor that knows Label Studio's JSON."""
