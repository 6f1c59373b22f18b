"""One node: cameras, graphs, stream filter, spool, uplink and the releases it runs. Imports ``shared`` alone."""
