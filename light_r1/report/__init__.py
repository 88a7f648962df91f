"""Files of a run to a report, plots and model cards; reads the run folder alone, and computes no score itself."""
