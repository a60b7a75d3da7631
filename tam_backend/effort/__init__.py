"""What labeling cost people, and what the model spared them: from masks that were submitted to a report."""
