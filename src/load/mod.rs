//! The load tool: recorded traces and synthetic profiles.
