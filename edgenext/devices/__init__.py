"""Where artifacts run: transports, probes, the pushed runner, vendors' compilers."""
