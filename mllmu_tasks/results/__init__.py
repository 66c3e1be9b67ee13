"""What it means: runs, tables, the gate, the report. Reads what evaluations logged."""
