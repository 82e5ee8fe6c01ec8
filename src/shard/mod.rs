//! One shard: its writer, its recovery and its documents.
