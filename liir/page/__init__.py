"""The page: annotate a frame in the browser, watch the labels travel, correct, export."""
