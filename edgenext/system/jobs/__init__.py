"""Work in other processes: here, or on the workers of a Dask scheduler."""
