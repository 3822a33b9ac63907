"""What every service shares: errors, settings, logs, files, child processes, the gRPC server, health and metrics.

Light on purpose: nothing here imports NumPy or TensorFlow.
"""
