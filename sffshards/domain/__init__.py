"""The field's words as values: task, frame, sequence, view, sample set, times. Its modules are public."""
