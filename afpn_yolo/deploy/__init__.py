"""What necks cost where they run: time, memory, size, side by side under equal conditions."""
