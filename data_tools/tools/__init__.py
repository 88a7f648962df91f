"""One function a command, rows in and rows or `Dropped` out; everything it needs is in the other folders."""
