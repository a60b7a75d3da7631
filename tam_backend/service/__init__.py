"""What Label Studio asks, answered without HTTP, one file a verb."""
