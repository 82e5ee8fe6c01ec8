//! The network edge: HTTP and WebSocket on one port.
