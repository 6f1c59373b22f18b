"""Image sources behind one protocol; each knows its own pace and ends when it has no more."""
