"""Web servers: authentication, sockets, Prometheus, TensorBoard."""
