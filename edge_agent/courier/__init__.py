"""Everything of the node that talks to the network: spool, uplink, heartbeat, downloads."""
