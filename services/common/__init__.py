"""What every service shares: errors, settings, logs, files, the gRPC server, health and metrics.

Light on purpose: nothing here imports NumPy or TensorFlow.
"""
