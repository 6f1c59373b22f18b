"""Release building: graphs, parity, golden tiles, the gate, publishing."""
